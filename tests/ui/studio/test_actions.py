import dataclasses
import json

from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import Ended
from ui.studio.actions import action_props


def names(actions: list[dict]) -> list[str]:
    return [action["name"] for action in actions]


def test_a_finished_run_can_go_on_to_every_near_higher_target(view_after, card) -> None:
    view = view_after()
    extends = [action for action in action_props(view, card)["run"] if action["name"] == "extend"]
    assert [action["detail"]["target"] for action in extends] == [256]
    assert extends[0]["label"] == "Upscale to 256"
    assert "extend" not in names(action_props(view_after(target=256), card)["run"])


def test_what_going_on_takes_is_said_on_its_button(view_after, card) -> None:
    def takes(settings):
        assert settings.target == 256 and settings.seed == 7
        return 4.6, 1_200_000_000

    (extend,) = [a for a in action_props(view_after(), card, takes)["run"] if a["name"] == "extend"]
    assert extend["label"] == "Upscale to 256 · 4.6 s"
    assert extend["title"] == "About 4.6 s, 1.2 GB."


def test_its_last_two_stages_can_be_compared(view_after, card) -> None:
    view = view_after()
    (compare,) = [action for action in action_props(view, card)["run"] if action["name"] == "compare"]
    assert compare["detail"]["items"] == [f"{view.id}.0", f"{view.id}.1"]


def test_the_link_and_the_settings_of_an_ended_run_can_be_copied(view_after, card) -> None:
    view = view_after()
    link, text = [action["detail"] for action in action_props(view, card)["run"] if action["name"] == "copy"]
    assert link == {"address": {"job": view.id}}
    prompt, line = text["text"].splitlines()
    assert prompt == "a toy house" and "Seed: 7, Size: 128x128" in line
    broken = dataclasses.replace(view, settings={**view.settings, "of_an_older_version": 1})
    assert names(action_props(broken, card)["run"])[-1:] == ["copy"]


def test_each_finished_stage_can_be_redone_once_the_run_has_ended(view_after, card) -> None:
    stages = action_props(view_after(), card)["stages"]
    assert [names(actions) for actions in stages] == [["redo"], ["redo", "compare", "extend"]]
    assert stages[1][0]["detail"]["stage"] == 1


def test_variations_are_offered_of_a_first_stage_that_was_drawn_from_noise(view_after, card) -> None:
    view = view_after()
    (vary,) = [action for action in action_props(view, card)["run"] if action["name"] == "vary"]
    assert (vary["label"], vary["detail"]) == ("Variations", {"job": view.id})
    kept = dataclasses.replace(view.stages[0], kind="keep")
    from_image = dataclasses.replace(view, stages=(kept, *view.stages[1:]))
    assert "vary" not in names(action_props(from_image, card)["run"])


def test_while_a_run_goes_on_nothing_of_it_is_redone_or_resumed(view_after, card) -> None:
    view = view_after(9)
    assert view.state == "running" and view.stages[0].state == "done"
    offered = action_props(view, card)
    assert names(offered["run"]) == []
    assert [names(actions) for actions in offered["stages"]] == [[], []]


def test_a_run_that_was_stopped_failed_or_cut_off_can_be_resumed(view_after, card) -> None:
    for state in ("stopped", "failed", "interrupted"):
        offered = action_props(apply_event(view_after(9), Ended(state=state, error=None)), card)
        assert names(offered["run"]) == ["vary", "resume", "copy", "copy"]
        assert names(offered["stages"][0]) == ["redo"]
        json.dumps(offered)
