import dataclasses
import json

from gspn_core.planning.plan import make_plan
from gspn_core.planning.suggestions import LONG_SECONDS, Suggestion
from gspn_core.planning.types import MemoryOptions
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import Ended, FileWritten, QueueMoved, StageReused
from gspn_core.settings import FIELD_NAMES, Settings
from ui.guard.files import file_url
from ui.shared.strings import studio_strings, units
from ui.studio.ladder import issue_props, ladder_props, planned_props

# Of a run at the default target: plan, started, four steps, done: then the second stage starts.
FIRST_STAGE = 7


def with_file(view, stage: int, kind: str, path: str):
    return apply_event(view, FileWritten(stage=stage, kind=kind, path=path))


def test_a_waiting_run_shows_a_card_for_every_planned_stage(view_after) -> None:
    props = ladder_props(view_after(1))
    assert [card["title"] for card in props["stages"]] == ["64 × 64", "128 × 128"]
    assert [card["state"] for card in props["stages"]] == ["waiting", "waiting"]
    assert props["show"] is None
    assert props["veil"] == studio_strings.NOTHING_DONE["running"]


def test_a_running_stage_tells_its_step_and_shows_the_live_preview(view_after) -> None:
    props = ladder_props(view_after(4))
    assert props["stages"][0]["lines"] == ["2 / 4"]
    assert props["stages"][0]["progress"] == 0.5
    assert props["preview"].startswith("data:image/jpeg;base64,")
    assert props["preview_stage"] == 0


def test_a_done_stage_tells_its_seconds_and_its_peak(view_after) -> None:
    card = ladder_props(view_after(FIRST_STAGE))["stages"][0]
    assert card["state"] == "done"
    assert card["lines"] == ["2.0 s", "1.6 GB"]


def test_a_stage_of_another_network_tells_its_kind_and_its_seconds(view_after) -> None:
    view = view_after(FIRST_STAGE)
    drawn = dataclasses.replace(view.stages[0], kind="sr", steps=0, seconds=1.5, predicted_bytes=10**9)
    kept = dataclasses.replace(drawn, kind="lanczos", predicted_bytes=None)
    cards = ladder_props(dataclasses.replace(view, stages=(drawn, kept)))["stages"]
    assert cards[0]["lines"][:2] == ["super-resolution", units.seconds(1.5)]
    assert cards[1]["lines"] == ["enlarged, not denoised"]


def test_a_stage_that_an_earlier_run_made_says_so(view_after) -> None:
    card = ladder_props(apply_event(view_after(1), StageReused(stage=0)))["stages"][0]
    assert card["state"] == "done"
    assert card["lines"] == [studio_strings.REUSED]


def test_a_card_has_a_picture_once_the_proxy_is_there_and_a_download_once_the_png_is(view_after) -> None:
    view = view_after(FIRST_STAGE)
    assert ladder_props(view)["stages"][0]["proxy"] is None
    view = with_file(view, 0, "proxy", "/j/a.jpg")
    props = ladder_props(view)
    assert props["stages"][0]["proxy"] == "gradio_api/file=/j/a.jpg"
    assert props["stages"][0]["png"] is None
    assert props["show"] == 0
    props = ladder_props(with_file(view, 0, "png", "/j/a.png"))
    assert props["stages"][0]["png"] == "gradio_api/file=/j/a.png"
    assert props["stages"][0]["file"] == "gspn-64x64-seed-7.png"


def test_a_card_has_tiles_once_they_are_there(view_after) -> None:
    view = with_file(view_after(FIRST_STAGE), 0, "proxy", "/j/a.jpg")
    assert ladder_props(view)["stages"][0]["tiles"] is None
    tiles = ladder_props(with_file(view, 0, "tiles", "/j/a b.tiles"))["stages"][0]["tiles"]
    assert tiles["url"] == "gradio_api/file=/j/a%20b.tiles"
    assert (tiles["width"], tiles["height"], tiles["levels"]) == (64, 64, 1)
    assert set(tiles) == {"url", "width", "height", "tile", "overlap", "levels", "version"}


def test_the_last_picture_that_is_there_is_shown(view_after) -> None:
    view = with_file(with_file(view_after(), 0, "proxy", "/j/a.jpg"), 1, "proxy", "/j/b.jpg")
    assert ladder_props(view)["show"] == 1


def test_a_stopped_run_keeps_what_was_done(view_after) -> None:
    view = apply_event(with_file(view_after(9), 0, "proxy", "/j/a.jpg"), Ended(state="stopped"))
    props = ladder_props(view)
    assert [card["state"] for card in props["stages"]] == ["done", "stopped"]
    assert props["show"] == 0
    assert props["preview"] is None
    assert props["veil"] == ""


def test_a_run_that_failed_before_its_first_stage_says_so_where_the_picture_would_be(view_after) -> None:
    props = ladder_props(apply_event(view_after(3), Ended(state="failed", error="no.")))
    assert props["veil"] == studio_strings.NOTHING_DONE["failed"]


def test_a_queued_run_says_that_it_waits(view_after) -> None:
    props = ladder_props(apply_event(view_after(0), QueueMoved(position=2)))
    assert props["veil"] == studio_strings.NOTHING_DONE["queued"]


def test_each_finished_stage_is_announced(view_after) -> None:
    assert ladder_props(view_after(3))["announce"] == ""
    assert ladder_props(view_after(FIRST_STAGE))["announce"] == "Stage 1 of 2 done in 2.0 s."


def test_a_hostile_prompt_stays_text(view_after) -> None:
    hostile = '"><img src=x onerror=alert(1)><script>{{words.fit}}${1}`</script>'
    props = ladder_props(view_after(prompt=hostile))
    # The page receives JSON and sets it as an attribute; nothing of it may be marked up on the way.
    assert json.loads(json.dumps(props))["stages"][0]["alt"] == f"{hostile} — 64 × 64 px"


def test_file_addresses_are_relative_and_quoted() -> None:
    assert file_url("/a b/#1/%2e?x.png") == "gradio_api/file=/a%20b/%231/%252e%3Fx.png"
    assert file_url(None) is None


def test_a_plan_gives_empty_cards_and_no_plan_none(card) -> None:
    plan = make_plan(Settings(prompt="a toy", target=256, aspect="2:1"), card)
    cards = planned_props(plan)["stages"]
    assert [card["state"] for card in cards] == ["planned"] * 3
    assert cards[-1]["title"] == units.size(plan.size.height, plan.size.width)
    assert planned_props(None)["stages"] == []


def test_a_tile_of_the_autoencoder_is_said(view_after) -> None:
    view = view_after(4)
    stage = dataclasses.replace(view.stages[0], phase="decode", tile=2, tiles=9)
    view = dataclasses.replace(view, stages=(stage, *view.stages[1:]))
    assert ladder_props(view)["stages"][0]["lines"] == ["decoding 2 / 9"]


def predicted_cards(card, **changes):
    plan = make_plan(Settings(prompt="a toy"), card)
    stages = tuple(
        dataclasses.replace(stage, peak_bytes=2 * 10**9, seconds=12.4, **changes) for stage in plan.stages
    )
    return planned_props(dataclasses.replace(plan, stages=stages, budget_bytes=10**9))["stages"]


def test_a_planned_stage_tells_what_it_is_predicted_to_take(card) -> None:
    answer = predicted_cards(card, choices=MemoryOptions(serial_guidance=True))[1]
    assert answer["lines"] == ["about 12 s", "about 2.0 GB", "sequential guidance"]
    assert not answer["over"]
    assert answer["label"].endswith("about 12 s about 2.0 GB sequential guidance")


def test_a_stage_that_does_not_fit_says_what_it_needs_and_what_there_is(card) -> None:
    answer = predicted_cards(card, fits=False)[0]
    assert answer["lines"] == ["needs 2.0 GB", "of 1.0 GB"]
    assert answer["over"]


def test_the_first_stage_that_does_not_fit_has_the_buttons_that_help_and_no_other_has(card) -> None:
    plan = make_plan(Settings(prompt="a toy", target=256), card)
    stages = tuple(
        dataclasses.replace(stage, peak_bytes=2 * 10**9, fits=not stage.index) for stage in plan.stages
    )
    plan = dataclasses.replace(plan, stages=stages, budget_bytes=10**9)
    help_ = Suggestion(name="mixer", value="attention", seconds=3.0, peak_bytes=9 * 10**8)
    cards = planned_props(plan, suggestions=[help_])["stages"]
    assert [bool(answer["suggestions"]) for answer in cards] == [False, True, False]
    assert [answer["over"] for answer in cards] == [False, True, True]
    assert cards[1]["suggestions"] == [
        {
            "label": "Use Self-attention",
            "title": "about 3.0 s, about 900 MB",
            "detail": {"name": "mixer", "value": "attention"},
        }
    ]
    answer = issue_props(plan, [help_])
    assert answer["text"] == "128 × 128 px does not fit: needs 2.0 GB, of 1.0 GB."
    assert answer["suggestions"] == cards[1]["suggestions"]


def test_a_stage_that_takes_very_long_says_so(card) -> None:
    plan = make_plan(Settings(prompt="a toy"), card)
    stages = tuple(
        dataclasses.replace(stage, peak_bytes=10**9, seconds=LONG_SECONDS * 2) for stage in plan.stages
    )
    answer = planned_props(dataclasses.replace(plan, stages=stages, budget_bytes=10**10))["stages"][0]
    assert answer["long"] and not answer["over"]
    assert answer["lines"][0] == f"about 1 h 00 min, {studio_strings.VERY_LONG}"


def test_every_suggestion_changes_a_setting_and_has_words_for_it() -> None:
    assert set(studio_strings.SUGGESTIONS) <= set(FIELD_NAMES)
    assert studio_strings.suggestion("target", 1024) == "Output size 1024 instead"
    assert studio_strings.suggestion_taken("guidance_stop", 0.5, 1.0) == "CFG until: 0.5 (was 1)."
    assert studio_strings.suggestion_taken("target", 512, 1024) == "Output size: 512 (was 1024)."


def test_a_stage_that_began_again_says_with_what_it_saves_memory(view_after) -> None:
    view = view_after(FIRST_STAGE)
    first = dataclasses.replace(view.stages[0], retries=("serial_guidance", "small_tiles"))
    card = ladder_props(dataclasses.replace(view, stages=(first, *view.stages[1:])))["stages"][0]
    assert card["lines"][-1] == "memory ran out: sequential guidance, smaller tiles"


def test_every_way_of_saving_memory_has_a_word() -> None:
    assert set(studio_strings.SAVINGS) == {field.name for field in dataclasses.fields(MemoryOptions)}
