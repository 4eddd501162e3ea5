"""A batch: the first stages of several seeds, each a run of its own, of which one goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gspn_core.errors import BadSetting, Busy, GspnError
from gspn_core.images.picture_text import read_texts
from gspn_core.planning.costs import MOST_PICTURES
from gspn_core.planning.together import plan_together
from gspn_core.runs.batch import batch_plans, variation_plans
from gspn_core.settings import MAX_SEED, Settings
from tests.gspn_core.conftest import Engine, Gate
from tests.gspn_core.runs.conftest import SETTINGS, again, last

ANN, BEN = "a-visitor", "another-visitor"


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def jobs(open_jobs, engine):
    return open_jobs(engine)


def test_a_batch_has_the_first_stages_of_seeds_that_follow_each_other(engine):
    plans = batch_plans(engine.plan, again(seed=MAX_SEED - 1), 4)
    assert [plan.settings.seed for plan in plans] == [MAX_SEED - 1, MAX_SEED, 0, 1]
    assert plans[2] == engine.plan(again(seed=0))


@pytest.mark.parametrize("pictures", [0, -1, MOST_PICTURES + 1])
def test_more_pictures_than_a_batch_has_are_refused(engine, pictures):
    with pytest.raises(BadSetting, match="1 to 8"):
        batch_plans(engine.plan, SETTINGS, pictures)


def test_pictures_that_would_all_be_the_same_are_refused(engine):
    fixed = again(overrides=f"{engine.plan(SETTINGS).stages[0].px}.seed=5")
    with pytest.raises(BadSetting, match="override"):
        batch_plans(engine.plan, fixed, 2)
    assert len(batch_plans(engine.plan, fixed, 1)) == 1


def test_variations_have_the_variation_seeds_after_the_pictures_own(engine):
    plain = variation_plans(engine.plan, SETTINGS)
    assert [plan.settings.variation_seed for plan in plain] == [1, 2, 3, 4]
    assert {plan.settings.variation_strength for plan in plain} == {0.3}
    assert {plan.settings.seed for plan in plain} == {3}
    further = variation_plans(engine.plan, again(variation_seed=MAX_SEED - 1, variation_strength=0.7))
    assert [plan.settings.variation_seed for plan in further] == [MAX_SEED, 0, 1, 2]
    assert {plan.settings.variation_strength for plan in further} == {0.7}


def test_variations_that_would_all_be_the_same_are_refused(engine):
    first = engine.plan(SETTINGS).stages[0].px
    for name, value in (("variation_seed", 8), ("variation_strength", 0.9)):
        with pytest.raises(BadSetting, match="override"):
            variation_plans(engine.plan, again(overrides=f"{first}.{name}={value}"))
    with pytest.raises(BadSetting, match="no noise to vary"):
        variation_plans(engine.plan, again(start=f"64x64-{'ab' * 32}"))


def test_variations_of_a_run_are_a_batch_that_goes_on_as_any_other(jobs):
    whole = last(jobs, jobs.submit(SETTINGS, visitor=ANN))
    ids = jobs.batches.vary(whole.id, visitor=ANN)
    views = [last(jobs, job_id) for job_id in ids]
    assert [(view.state, view.picture, len(view.stages)) for view in views] == [
        ("done", number, 1) for number in (1, 2, 3, 4)
    ]
    assert len({view.stages[0].key for view in (*views, whole)}) == 5
    gone_on = last(jobs, jobs.resume(ids[2], visitor=ANN))
    assert gone_on.stages[0].reused
    assert gone_on.settings["variation_seed"] == 3
    assert len(gone_on.stages) == len(whole.stages)
    with pytest.raises(GspnError):
        jobs.batches.vary("gone", visitor=ANN)


def test_each_picture_is_a_run_of_its_own_whose_text_is_of_it_alone(jobs, engine):
    ids = jobs.batches.submit(SETTINGS, 3, visitor=ANN)
    views = [last(jobs, job_id) for job_id in ids]
    assert [view.state for view in views] == ["done"] * 3
    assert [view.picture for view in views] == [1, 2, 3]
    assert len({view.batch for view in views}) == 1
    for view, seed in zip(views, (3, 4, 5), strict=True):
        (stage,) = view.stages
        info = read_texts(Path(stage.png_path))["gspn_studio"]
        assert info["settings"]["seed"] == view.settings["seed"] == seed
        # The text is the one that a whole run writes, so that it can be reproduced byte for byte.
        assert len(info["stages"]) == len(engine.plan(SETTINGS).stages)
        assert info["settings"]["target"] == 256 == view.settings["target"]
    assert {summary.id for summary in jobs.history(ANN)} == set(ids)


def test_resuming_a_picture_goes_on_from_its_first_stage(jobs, engine):
    ids = jobs.batches.submit(SETTINGS, 2, visitor=ANN)
    picked = [last(jobs, job_id) for job_id in ids][1]
    engine.ran.clear()
    whole = last(jobs, jobs.resume(ids[1], visitor=ANN))
    assert whole.state == "done"
    assert whole.stages[0].reused
    assert whole.stages[0].key == picked.stages[0].key
    assert [len(found) for found in engine.finished[-1:]] == [1]
    assert whole.settings == picked.settings
    assert len(whole.stages) == len(engine.plan(SETTINGS).stages)
    assert (whole.batch, whole.picture) == (picked.batch, 0)
    assert [view.id for view in jobs.batches.views(whole, ANN)] == list(ids)


def test_a_batch_is_shown_to_its_owner_alone(jobs):
    ids = jobs.batches.submit(SETTINGS, 2, visitor=ANN)
    view = last(jobs, ids[0])
    assert [one.id for one in jobs.batches.views(view, ANN)] == list(ids)
    assert jobs.batches.views(view, BEN) == ()
    assert jobs.batches.views(view, "") == ()


def test_a_stop_keeps_what_is_drawn_and_leaves_out_the_rest(jobs, engine):
    gate = Gate(at=3)
    held = SETTINGS.seed + 1
    engine.before_event = lambda settings, number: gate(settings, number) if settings.seed == held else None
    ids = jobs.batches.submit(SETTINGS, 4, visitor=ANN)
    gate.wait()
    jobs.batches.stop(ids[0], visitor=ANN)
    gate.open()
    assert [last(jobs, job_id).state for job_id in ids] == ["done", "stopped", "stopped", "stopped"]
    assert [settings.seed for settings in engine.ran] == [SETTINGS.seed, held]


def test_a_restart_finds_the_batch(open_jobs, engine, jobs):
    ids = jobs.batches.submit(SETTINGS, 2, visitor=ANN)
    for job_id in ids:
        last(jobs, job_id)
    jobs.close()
    reopened = open_jobs(engine)
    assert [view.id for view in reopened.batches.views(reopened.view(ids[1]), ANN)] == list(ids)
    engine.ran.clear()
    # The same batch again is taken from the disk.
    for job_id in reopened.batches.submit(SETTINGS, 2, visitor=ANN):
        assert last(reopened, job_id).stages[0].reused
    assert engine.ran == []


def test_a_removed_picture_leaves_the_batch(jobs):
    ids = jobs.batches.submit(SETTINGS, 3, visitor=ANN)
    views = [last(jobs, job_id) for job_id in ids]
    jobs.delete(ids[1], ANN)
    assert [one.picture for one in jobs.batches.views(views[0], ANN)] == [1, 3]


def test_a_batch_that_does_not_fit_into_the_queue_is_refused_whole(open_jobs, engine):
    gate = Gate()
    engine.before_event = gate
    jobs = open_jobs(engine, max_queued=8)
    first = jobs.submit(SETTINGS, visitor=ANN)
    gate.wait()
    jobs.submit(again(seed=9), visitor=ANN)
    with pytest.raises(Busy, match="4 pictures need more places than the 3 free"):
        jobs.batches.submit(SETTINGS, 4, visitor=ANN)
    assert len(jobs.history(ANN)) == 2
    ids = jobs.batches.submit(SETTINGS, 3, visitor=ANN)
    gate.open()
    assert [last(jobs, job_id).state for job_id in (first, *ids)] == ["done"] * 4


def test_an_open_seed_is_drawn_once_for_the_batch(jobs):
    ids = jobs.batches.submit(dataclasses.replace(SETTINGS, seed=None), 3, visitor=ANN)
    views = [last(jobs, job_id) for job_id in ids]
    first = views[0].settings["seed"]
    assert [view.settings["seed"] for view in views] == [(first + at) % (MAX_SEED + 1) for at in range(3)]
    assert all(view.seed_drawn for view in views)
    assert isinstance(Settings.from_dict(views[1].settings).seed, int)


def test_pictures_that_one_run_draws_with_its_own_are_not_drawn_again(jobs, engine):
    engine.together = 2
    ids = jobs.batches.submit(SETTINGS, 4, visitor=ANN)
    views = [last(jobs, job_id) for job_id in ids]
    assert engine.more_seeds[0] == (4, 5, 6)
    # The last was left out by the engine, and is drawn alone.
    assert [settings.seed for settings in engine.ran] == [3, 6]
    assert [view.state for view in views] == ["done"] * 4
    # A key stands for bytes, and sums over more rows are rounded otherwise.
    plans = batch_plans(engine.plan, SETTINGS, 4)
    keys = [plan_together(plan).stages[0].key for plan in plans[:3]] + [plans[3].stages[0].key]
    assert [view.stages[0].key for view in views] == keys
    assert jobs.batches.cached(SETTINGS, 5) == 4
    engine.ran.clear()
    assert all(
        last(jobs, job_id).stages[0].reused for job_id in jobs.batches.submit(SETTINGS, 3, visitor=ANN)
    )
    whole = last(jobs, jobs.resume(ids[1], visitor=ANN))
    assert whole.stages[0].reused
    assert whole.stages[0].key == keys[1]
    smaller = last(jobs, jobs.extend(whole.id, 128, visitor=ANN))
    assert [stage.reused for stage in smaller.stages] == [True, True]
    again_above = last(jobs, jobs.redo(whole.id, 1, again(seed=4, gaussian_sigma=2.0), visitor=ANN))
    assert [stage.reused for stage in again_above.stages] == [True, False, False]
    # Drawn alone it is another picture, in its last bits.
    assert not last(jobs, jobs.submit(again(seed=4))).stages[0].reused
    assert len({Path(view.stages[0].png_path).read_bytes() for view in views}) == 4


def test_seconds_of_a_stage_that_was_drawn_with_others_are_not_learnt(jobs, engine):
    engine.together = 3
    ids = jobs.batches.submit(SETTINGS, 4, visitor=ANN)
    for job_id in ids:
        last(jobs, job_id)
    assert not jobs._timings.all()
