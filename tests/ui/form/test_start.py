import dataclasses
from pathlib import Path

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from gspn_core.errors import BadSetting, GspnError
from gspn_core.images.load import reference_of
from gspn_core.planning.plan import make_plan
from gspn_core.runs.init_images import InitImages
from gspn_core.settings import Settings
from ui.compare.compare import _shown
from ui.form.form import initial_values, settings_from, values_of
from ui.form.start import (
    EXTEND_STRENGTH,
    REGION_STRENGTH,
    kept_start,
    set_extension,
    set_from_run,
    set_region,
    start_props,
    taken,
)
from ui.shared.strings import form_strings, studio_strings
from ui.studio.actions import action_props
from ui.studio.ladder import ladder_props, planned_props


class RunQueue:
    """Starting pictures for real, and one run with a picture."""

    def __init__(self, folder: Path) -> None:
        self.starts = InitImages(folder, set)

    def take_start(self, path, name, *, visitor=""):
        return self.starts.take(path, name, visitor)

    def start_proxy(self, reference):
        return self.starts.proxy(reference)

    def start_from(self, job_id, stage, *, visitor=""):
        if (job_id, stage) != ("run", 1):
            raise GspnError("This run has 2 stages.")
        return self.starts.put(Image.new("RGB", (128, 128), "navy"), visitor)

    def view(self, job_id):
        return type("View", (), {"settings": {"prompt": f"a toy of {job_id}"}})


@pytest.fixture
def jobs(tmp_path):
    return RunQueue(tmp_path / "starts")


@pytest.fixture
def sent(tmp_path, monkeypatch):
    """Return a function: a picture in the folder to which gradio's uploads come."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))

    def send(size=(96, 64), name="photo.png"):
        folder = Path(get_upload_folder())
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "teal").save(folder / name)
        return {"path": str(folder / name), "name": name}

    return send


def is_skipped(value) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update" and len(value) == 1


def test_a_picture_that_was_sent_becomes_the_forms_reference_and_its_file_goes(jobs, sent, card):
    file = sent()
    props, reference, target = taken(jobs, card, file, "", 256)
    assert reference == reference_of(Image.new("RGB", (96, 64), "teal"))
    assert (props["reference"], props["size"], props["error"]) == (reference, "96 × 64", "")
    assert props["thumb"].endswith(f"{reference}.jpg") and target == 256
    assert not Path(file["path"]).exists()


def test_a_picture_is_kept_for_the_visitor_who_sent_it(jobs, sent, card):
    taken(jobs, card, sent(), "", 256, "anna")
    set_from_run(jobs, card, {"job": "run", "stage": 1}, "", 128, "ben")
    assert [wanted.owner for wanted in jobs.starts._wanted.values()] == ["anna", "ben"]


def test_the_first_stage_as_a_target_gives_way_to_the_next(jobs, sent, card):
    assert taken(jobs, card, sent(), "", 64)[2] == 128


def test_a_refusal_is_said_and_the_form_keeps_its_picture(jobs, sent, card):
    held = taken(jobs, card, sent(), "", 128)[1]
    props, reference, target = taken(jobs, card, sent((20, 20), "tiny.png"), held, 128)
    assert "tiny.png is 20×20 px" in props["error"] and props["reference"] == held and props["thumb"]
    assert is_skipped(reference) and is_skipped(target)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "photo.png", "", None, "{folder}/../../etc/passwd", "{folder}"]
)
def test_no_path_outside_of_the_uploads_is_read_or_removed(jobs, sent, tmp_path, path):
    mine = tmp_path / "photo.png"
    Image.new("RGB", (96, 64)).save(mine)
    asked = str(mine) if path == "photo.png" else path and path.format(folder=Path(sent()["path"]).parent)
    with pytest.raises(BadSetting, match=r"mine\.png did not arrive whole"):
        kept_start(jobs, {"path": asked}, "../mine.png")
    assert mine.exists()


def test_starting_from_a_run_brings_its_prompt_and_a_target_above_it(jobs, card):
    props, reference, target, prompt = set_from_run(jobs, card, {"job": "run", "stage": 1}, "", 128)
    assert props["reference"] == reference and reference.startswith("128x128-")
    assert (target, prompt) == (256, "a toy of run")
    assert set_from_run(jobs, card, {"job": "run", "stage": 1}, "", 256)[2] == 256
    for stage in (7, None, "1"):
        answer = set_from_run(jobs, card, {"job": "run", "stage": stage}, "", 128)
        assert answer[0]["error"] == "This run has 2 stages." and all(map(is_skipped, answer[1:]))


def test_a_reference_whose_picture_is_gone_says_so(jobs):
    assert start_props(jobs, f"96x64-{'0' * 64}")["error"] == form_strings.START_GONE
    assert start_props(jobs, "nonsense")["error"].startswith("start must name a picture")
    assert start_props(jobs, "") == start_props()


REFERENCE = f"128x128-{'ab' * 32}"


def test_the_form_says_a_run_from_a_picture_and_comes_back_to_it(card):
    settings = make_plan(Settings(prompt="a toy", start=REFERENCE, target=256), card).settings
    values = values_of(settings.to_dict(), card)
    assert dataclasses.replace(settings_from(values), seed=None) == dataclasses.replace(settings, seed=None)
    plain = make_plan(Settings(prompt="a toy"), card).settings
    held = dict(
        zip([f.name for f in dataclasses.fields(Settings)], values_of(plain.to_dict(), card), strict=True)
    )
    assert (held["start"], held["start_px"], held["start_strength"]) == ("", 0, 0.0)
    assert initial_values(card)["start_px"] == 0


def test_before_a_run_the_first_card_is_the_picture_itself(card):
    plan = make_plan(Settings(prompt="a toy", start=f"140x150-{'ab' * 32}", target=256), card)
    props = planned_props(plan, (), "/jobs/starts/a.jpg")
    first, second = props["stages"]
    assert (first["title"], first["lines"]) == ("128 × 128", [studio_strings.KINDS["keep"]])
    assert first["proxy"] == "gradio_api/file=/jobs/starts/a.jpg" and props["show"] == 0
    # The viewer would cut a picture that is larger than the size it is given.
    assert (first["height"], first["width"]) == (150, 140) and "proxy" not in second
    redrawn = make_plan(Settings(prompt="a toy", start=REFERENCE, target=256, start_strength=0.5), card)
    assert planned_props(redrawn, (), "/a.jpg")["stages"][0]["lines"] == [studio_strings.KINDS["redraw"]]


def test_a_runs_first_card_says_whose_picture_it_is(view_after):
    kept = ladder_props(view_after(start=REFERENCE, target=256))["stages"]
    assert (
        kept[0]["lines"] == [studio_strings.KINDS["keep"]]
        and studio_strings.KINDS["keep"] not in kept[1]["lines"]
    )
    drawn = ladder_props(view_after(start=REFERENCE, start_strength=0.5))["stages"][0]
    assert drawn["lines"][0] == studio_strings.KINDS["redraw"] and len(drawn["lines"]) == 3
    assert studio_strings.KINDS["keep"] not in ladder_props(view_after())["stages"][0]["lines"]


def test_a_finished_stage_is_offered_as_init_image_once_its_picture_is_written(view_after, card):
    view = view_after()
    names = [action["name"] for action in action_props(view, card)["stages"][0]]
    assert "init_image" not in names
    stages = tuple(dataclasses.replace(stage, png_path="/a.png") for stage in view.stages)
    written = dataclasses.replace(view, stages=stages)
    (used,) = [a for a in action_props(written, card)["stages"][1] if a["name"] == "init_image"]
    assert used["detail"] == {"job": view.id, "stage": 1} and used["label"] == studio_strings.INIT_IMAGE


def test_a_drawn_region_brings_a_strength_that_redraws_it(jobs, sent, card):
    reference = taken(jobs, card, sent((96, 64)), "", 256)[1]
    for strength, wanted in (
        (0, REGION_STRENGTH),
        (0.0, REGION_STRENGTH),
        (None, REGION_STRENGTH),
        (0.3, None),
    ):
        shown, region, set_to = set_region(jobs, {"text": "box 1 2 3 4;"}, reference, strength)
        assert (shown["reference"], shown["error"], region) == (reference, "", "box 1 2 3 4")
        assert is_skipped(set_to) if wanted is None else set_to == wanted
    _, region, set_to = set_region(jobs, {"text": ""}, reference, 0)
    assert region == "" and is_skipped(set_to)


@pytest.mark.parametrize(
    "drawn", [{"text": "circle 1 2 3"}, {"text": "x" * 30_000}, {"text": 7}, {"text": ["a"]}]
)
def test_a_region_that_cannot_be_read_changes_nothing(jobs, drawn):
    shown, *rest = set_region(jobs, drawn, REFERENCE, 0)
    assert shown["error"].endswith(".") and all(map(is_skipped, rest))


def test_an_extension_brings_a_strength_that_draws_it_and_a_target_that_has_room(jobs, sent, card):
    reference = taken(jobs, card, sent((256, 256)), "", 256)[1]
    for target, wanted in ((256, 128), (128, None), (64, None)):
        shown, extend, strength, set_to = set_extension(
            jobs, card, {"text": "right 50"}, reference, 0, target
        )
        assert (shown["error"], extend, strength) == ("", "right 50", EXTEND_STRENGTH)
        assert is_skipped(set_to) if wanted is None else set_to == wanted
    assert is_skipped(set_extension(jobs, card, {"text": "right 50"}, reference, 0.4, 128)[2])
    _, extend, strength, set_to = set_extension(jobs, card, {"text": ""}, reference, 0, 256)
    assert extend == "" and is_skipped(strength) and is_skipped(set_to)


@pytest.mark.parametrize(
    ("sides", "sentence"),
    [
        ("up 5", "Extension must name sides with the percent"),
        ("left 200", "Extension: left is 200 percent"),
        (7, "."),
        ("x" * 5000, "."),
    ],
)
def test_an_extension_that_cannot_be_read_changes_nothing(jobs, card, sides, sentence):
    shown, *rest = set_extension(jobs, card, {"text": sides}, REFERENCE, 0, 256)
    assert sentence in shown["error"] and all(map(is_skipped, rest))


def test_an_extension_that_would_be_too_long_changes_nothing(jobs, sent, card):
    reference = taken(jobs, card, sent((300, 100)), "", 256)[1]
    shown, *rest = set_extension(jobs, card, {"text": "left 50 right 50"}, reference, 0, 256)
    assert "longer than 4:1" in shown["error"] and all(map(is_skipped, rest))


def test_a_table_names_a_starting_picture_by_its_size_and_first_digits():
    assert _shown(REFERENCE) == "128 × 128 · abababab"
    assert _shown("a lake") == "a lake"


def test_the_part_is_one_that_gradio_knows():
    with gr.Blocks():
        from ui.form.start import build_start

        assert build_start().value == start_props()
