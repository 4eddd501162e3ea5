"""What the page opens with: a run, settings that the address names, or an example."""

from __future__ import annotations

from gspn_core.settings import Settings
from ui.shared.strings import studio_strings
from ui.studio.handlers import Runs


def test_the_first_example_that_is_there_is_shown_and_only_its_prompt_is_filled_in(jobs, card) -> None:
    run = jobs.submit(Settings(prompt="a toy boat", seed=3, target=64))
    list(jobs.follow(run))
    runs = Runs(jobs, card, machine=lambda: None, examples=("an-example-that-is-gone", run))
    assert [example["job"] for example in runs.gallery()] == [run]
    for remembered in (None, run):
        *_, shown = runs.restore(None, remembered, "a visitor")
        assert shown["screen"]["job"] == run and not shown["screen"]["restored"]
        assert shown["notice"]["text"] == ""
        assert shown["prompt"] == "a toy boat" and "target" not in shown
    own = jobs.submit(Settings(prompt="a toy", seed=1, target=64))
    list(jobs.follow(own))
    *_, shown = runs.restore(None, own, "a visitor")
    assert shown["screen"]["job"] == own


def test_settings_in_the_address_fill_the_form_before_any_run_that_is_remembered(runs, jobs) -> None:
    run = jobs.submit(Settings(prompt="a toy", seed=1, target=64))
    list(jobs.follow(run))
    *_, shown = runs.restore(None, run, "a visitor", {"prompt": "a toy boat", "target": "256"})
    assert (shown["prompt"], shown["target"], shown["job"]) == ("a toy boat", 256, None)
    assert shown["notice"]["text"] == studio_strings.LINKED and len(shown["screen"]["stages"]) == 3
    *_, refused = runs.restore(None, None, "a visitor", {"target": "100"})
    assert refused["notice"]["tone"] == "error" and refused["notice"]["field"] == "target"
    *_, shown = runs.restore(run, None, "a visitor", {"job": run, "prompt": "another"})
    assert shown["screen"]["job"] == run
