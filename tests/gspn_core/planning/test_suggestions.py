from __future__ import annotations

import dataclasses
import functools
import itertools

import pytest

from gspn_core.models.catalog import SDXL_CARD, find_card
from gspn_core.models.shapes import SDXL_SHAPES
from gspn_core.planning.plan import make_plan
from gspn_core.planning.suggestions import LONG_SECONDS, MOST_REMEDIES, find_fit_issue, find_suggestions
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import Machine
from gspn_core.settings import Settings

SDXL = dataclasses.replace(SDXL_CARD, shapes=SDXL_SHAPES)
ASK = Settings(prompt="a lake", seed=1, target=8192)


def gpu(gigabytes: float, step_seconds: float | None = None) -> Machine:
    timing = StageTiming(
        mixer="attention",
        height=1024,
        width=1024,
        encode_seconds=0.1,
        step_seconds=step_seconds or 0.1,
        decode_seconds=0.1,
    )
    return Machine(
        device="cuda",
        budget_bytes=int(gigabytes * 1e9),
        base_bytes=5 * 10**8,
        host_bytes=64 * 10**9,
        timings=() if step_seconds is None else (timing,),
    )


def remedies_for(settings, machine, card=SDXL):
    replan = functools.partial(make_plan, card=card, machine=machine)
    plan = replan(settings)
    return plan, find_suggestions(settings, plan, card, replan), replan


def test_a_plan_that_fits_needs_no_help():
    plan, remedies, _ = remedies_for(ASK, gpu(80))
    assert find_fit_issue(plan) is None and remedies == ()


def test_where_memory_lacks_the_largest_target_that_fits_is_offered():
    plan, remedies, _ = remedies_for(ASK, gpu(8))
    assert find_fit_issue(plan).reason == "memory" and find_fit_issue(plan).stage is plan.too_large
    (smaller,) = [remedy for remedy in remedies if remedy.name == "target"]
    assert smaller.value == 4096
    assert smaller.peak_bytes <= 8e9 and smaller.seconds is None


@pytest.mark.parametrize("gigabytes", [2.5, 4, 5, 6, 8, 10, 12, 16, 24])
def test_every_remedy_by_itself_makes_the_run_fit(gigabytes):
    for target, mixer in itertools.product((1024, 2048, 4096, 8192), SDXL.mixers):
        asked = dataclasses.replace(ASK, target=target, mixer=mixer)
        plan, remedies, replan = remedies_for(asked, gpu(gigabytes))
        assert len(remedies) <= MOST_REMEDIES
        assert not remedies or plan.too_large is not None
        for remedy in remedies:
            changed = replan(dataclasses.replace(asked, **{remedy.name: remedy.value}))
            assert changed.too_large is None
            assert max(stage.peak_bytes for stage in changed.stages) == remedy.peak_bytes
            assert remedy.peak_bytes <= gigabytes * 1e9


def test_where_nothing_fits_nothing_is_offered():
    plan, remedies, _ = remedies_for(ASK, gpu(1))
    assert plan.too_large is not None and remedies == ()


def test_a_stage_that_takes_very_long_is_a_fit_issue_and_suggestions_are_shorter():
    asked = dataclasses.replace(ASK, mixer="attention")
    plan, remedies, _ = remedies_for(asked, gpu(80, 0.3))
    issue = find_fit_issue(plan)
    assert issue.reason == "time" and issue.stage.seconds > LONG_SECONDS
    assert all(stage.seconds <= LONG_SECONDS for stage in plan.stages[: issue.stage.index])
    assert [remedy.name for remedy in remedies][:1] == ["mixer"]
    assert all(remedy.seconds < sum(stage.seconds for stage in plan.stages) for remedy in remedies)


def test_what_cannot_run_is_reported_before_what_takes_long():
    plan, _, _ = remedies_for(dataclasses.replace(ASK, mixer="attention"), gpu(8, 30.0))
    assert find_fit_issue(plan).reason == "memory"


def test_an_override_that_keeps_the_issue_leaves_the_setting_out():
    asked = dataclasses.replace(ASK, mixer="attention", overrides="8192.mixer=attention")
    _, remedies, _ = remedies_for(asked, gpu(80, 0.3))
    assert "mixer" not in [remedy.name for remedy in remedies]


def test_the_embedded_model_is_helped_too():
    card = find_card("world")
    machine = Machine(device="cpu", budget_bytes=74 * 10**7, base_bytes=6 * 10**8)
    plan, remedies, _ = remedies_for(Settings(prompt="a lake", seed=1, target=2048), machine, card)
    assert plan.too_large is not None
    assert [remedy.value for remedy in remedies if remedy.name == "target"] != []
