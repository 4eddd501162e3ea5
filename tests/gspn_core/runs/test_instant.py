"""Pictures that are drawn while a form changes: they give way to runs, and runs go on from them."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from gspn_core.engine import Engine as RealEngine
from gspn_core.planning.plan import make_plan
from gspn_core.planning.timing import StageTiming
from gspn_core.runs import instant
from gspn_core.runs.instant import InstantPicture, fast_steps, obstacle, picture_key
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from tests.gspn_core.conftest import CARD, WAIT_SECONDS, Engine, Gate
from tests.gspn_core.runs.conftest import SETTINGS, again, last

OPEN = dataclasses.replace(SETTINGS, seed=None)
ANN, BEN = "a-visitor", "another-visitor"


class Quick(Engine):
    """An engine whose first stages are predicted to take `seconds`."""

    seconds: float | None = 0.3

    def plan(self, settings):
        plan = make_plan(settings, CARD)
        first = dataclasses.replace(plan.stages[0], seconds=self.seconds)
        return dataclasses.replace(plan, stages=(first, *plan.stages[1:]))


@pytest.fixture
def engine() -> Quick:
    return Quick()


@pytest.fixture
def jobs(open_jobs, engine):
    return open_jobs(engine)


def in_background(call, *args, **options):
    """Return a function that waits for what a call in a thread returns."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call(*args, **options)))
    thread.start()

    def result():
        thread.join(WAIT_SECONDS)
        return found[0]

    return result


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_picture_is_the_first_stage_alone_and_writes_nothing(jobs):
    before = files_in(jobs.folder)
    picture = jobs.instant.draw(SETTINGS, ANN)
    assert isinstance(picture, InstantPicture)
    assert picture.image.size == (64, 64) and picture.stage.index == 0
    assert picture.seconds > 0 and not picture.seed_drawn
    assert files_in(jobs.folder) == before and jobs.history(ANN) == ()
    assert not jobs.is_busy and not jobs.instant.is_wanted


def test_a_run_takes_the_picture_with_the_same_bytes_as_without(open_jobs, engine, tmp_path):
    jobs = open_jobs(engine)
    drawn = jobs.instant.draw(SETTINGS, ANN)
    assert [hit.job_id for hit in jobs.reusable(jobs.plan(SETTINGS))] == [""]
    view = last(jobs, jobs.submit(SETTINGS, visitor=ANN))
    assert [stage.reused for stage in view.stages] == [True, False, False]
    assert view.stages[0].saved_seconds is not None
    assert engine.finished[-1] == (drawn.image,)
    plain = Quick()
    jobs.close()
    (tmp_path / "jobs").rename(tmp_path / "before")
    without = open_jobs(plain)
    other = last(without, without.submit(SETTINGS))
    assert plain.finished == [()]
    for one, two in zip(view.stages, other.stages, strict=True):
        first = tmp_path / "before" / view.id / Path(one.png_path).name
        assert Image.open(first).tobytes() == Image.open(two.png_path).tobytes()


@pytest.mark.usefixtures("one_thread")
def test_a_real_run_that_takes_the_picture_ends_with_the_same_bytes(sized_model, tmp_path):
    asked = Settings(prompt="a hill", seed=1, target=128, num_inference_steps=2, mixer="attention")
    bytes_of = []
    for folder in ("with", "without"):
        model = RealEngine(sized_model)
        timing = StageTiming(
            mixer="attention",
            height=64,
            width=64,
            encode_seconds=0.01,
            step_seconds=0.01,
            decode_seconds=0.01,
        )
        model.timings = lambda one=timing: (one,)
        jobs = RunQueue(model.run, tmp_path / folder, plan=model.plan, view_seconds=0.0)
        try:
            if folder == "with":
                assert isinstance(jobs.instant.draw(asked, ANN), InstantPicture)
            view = last(jobs, jobs.submit(asked))
            assert [stage.reused for stage in view.stages] == [folder == "with", False]
            bytes_of.append([Image.open(stage.png_path).tobytes() for stage in view.stages])
        finally:
            jobs.close()
    assert bytes_of[0] == bytes_of[1]


def test_a_picture_that_is_there_already_is_not_drawn_again(jobs, engine):
    jobs.instant.draw(SETTINGS, ANN)
    assert jobs.instant.draw(again(target=128), BEN).seconds is None
    assert len(engine.ran) == 1


def test_there_is_none_while_a_run_waits_or_goes_on(jobs, engine):
    gate = engine.before_event = Gate()
    run = jobs.submit(SETTINGS)
    gate.wait()
    assert jobs.instant.draw(again(prompt="a sea"), ANN) == "busy"
    gate.open()
    last(jobs, run)
    assert len(engine.ran) == 1


def test_a_run_ends_the_picture_at_its_next_step(jobs, engine):
    gate = engine.before_event = Gate(at=2)
    drawn = in_background(jobs.instant.draw, again(prompt="a sea"), ANN)
    gate.wait()
    run = jobs.submit(SETTINGS)
    gate.open()
    assert drawn() == "busy"
    assert last(jobs, run).state == "done"
    assert engine.stopped_after == [2]


def test_a_newer_request_of_a_visitor_ends_the_one_before(jobs, engine):
    gate = engine.before_event = Gate(at=2)
    first = in_background(jobs.instant.draw, again(prompt="a"), ANN)
    gate.wait()
    second = in_background(jobs.instant.draw, again(prompt="a l"), ANN)
    # A request that waits is answered as soon as a newer one is there, not when the thread is free.
    assert first() == "superseded"
    third = in_background(jobs.instant.draw, again(prompt="a lake"), ANN)
    assert second() == "superseded"
    gate.open()
    assert third().stage.settings.prompt == "a lake"
    assert [settings.prompt for settings in engine.ran] == ["a", "a lake"]
    assert engine.stopped_after == [2]


def test_another_visitors_picture_is_not_interrupted(jobs, engine):
    gate = engine.before_event = Gate(at=2)
    first = in_background(jobs.instant.draw, SETTINGS, ANN)
    gate.wait()
    assert jobs.instant.draw(again(prompt="a sea"), BEN) == "busy"
    gate.open()
    assert first().image is not None


def test_a_measurement_in_the_background_gives_the_device_back(jobs):
    begun, wanted = threading.Event(), []

    def measurement():
        with jobs.device():
            begun.set()
            while not jobs.instant.is_wanted:
                time.sleep(0.001)
            wanted.append(True)

    over = in_background(lambda: measurement())
    assert begun.wait(WAIT_SECONDS)
    assert isinstance(jobs.instant.draw(SETTINGS, ANN), InstantPicture)
    over()
    assert wanted == [True]


def test_pictures_of_an_open_seed_have_one_seed_until_another_is_asked_for(jobs):
    def seed(**options) -> int:
        return jobs.instant.draw(
            dataclasses.replace(OPEN, prompt="a sea"), ANN, **options
        ).stage.settings.seed

    first = jobs.instant.draw(OPEN, ANN)
    assert first.seed_drawn and first.stage.settings.seed == seed()
    assert seed(new_seed=True) != first.stage.settings.seed
    assert jobs.instant.draw(OPEN, BEN).stage.settings.seed != first.stage.settings.seed


def test_a_run_with_an_open_seed_takes_that_of_the_picture_once(jobs):
    drawn = jobs.instant.draw(OPEN, ANN)
    assert jobs.instant.plan_of(OPEN, BEN) is None
    assert jobs.instant.plan_of(dataclasses.replace(OPEN, prompt="a sea"), ANN) is None
    assert jobs.instant.plan_of(SETTINGS, ANN) is None
    # What changes later stages alone leaves the picture as it is.
    plan = jobs.instant.plan_of(dataclasses.replace(OPEN, gaussian_sigma=2.0, target=128), ANN)
    assert plan.stages[0].key == drawn.stage.key and len(plan.stages) == 2
    view = last(jobs, jobs.submit(plan, visitor=ANN, seed_drawn=True))
    assert view.seed_drawn and view.settings["seed"] == drawn.stage.settings.seed
    assert [stage.reused for stage in view.stages] == [True, False]
    jobs.instant.set_used(ANN)
    assert jobs.instant.plan_of(OPEN, ANN) is None


def test_one_visitor_gets_so_many_a_minute(jobs, monkeypatch):
    monkeypatch.setattr(instant, "MOST_EACH_MINUTE", 3)
    answers = [jobs.instant.draw(SETTINGS, ANN) for _ in range(4)]
    assert [answer == "often" for answer in answers] == [False, False, False, True]
    assert isinstance(jobs.instant.draw(SETTINGS, BEN), InstantPicture)


def test_visitors_and_pictures_in_memory_are_bounded(jobs, monkeypatch):
    monkeypatch.setattr(instant, "_MOST_VISITORS", 2)
    monkeypatch.setattr("gspn_core.runs.stage_cache._MOST_BYTES", 2 * 64 * 64 * 3)
    for number in range(4):
        jobs.instant.draw(again(prompt=f"a lake {number}"), f"visitor-{number}")
    assert len(jobs.instant._visitors) == 2
    there = [bool(jobs.reusable(jobs.plan(again(prompt=f"a lake {number}")))) for number in range(4)]
    assert there == [False, False, True, True]


def test_an_engine_that_fails_says_so_and_the_next_picture_is_drawn(jobs, engine):
    def fail(_settings, _number):
        raise ValueError("broken")

    engine.before_event = fail
    assert jobs.instant.draw(SETTINGS, ANN) == "failed"
    engine.before_event = lambda *_: None
    assert isinstance(jobs.instant.draw(SETTINGS, ANN), InstantPicture)


@pytest.mark.parametrize(("seconds", "why"), [(None, "unknown"), (2.1, "slow"), (2.0, None)])
def test_a_first_stage_that_is_slow_or_of_unknown_speed_is_not_drawn(jobs, engine, seconds, why):
    engine.seconds = seconds
    assert obstacle(jobs.plan(SETTINGS)) == why
    assert (jobs.instant.draw(SETTINGS, ANN) == "off") == (why is not None)


def test_neither_an_init_image_nor_what_does_not_fit_is_drawn(jobs):
    plan = jobs.plan(SETTINGS)
    kept = dataclasses.replace(plan, settings=again(start="256x256-" + "0" * 64))
    assert obstacle(kept) == "start"
    first = dataclasses.replace(plan.stages[0], fits=False)
    assert obstacle(dataclasses.replace(plan, stages=(first, *plan.stages[1:]))) == "memory"


def test_the_picture_changes_with_what_the_first_stage_reads_and_not_with_a_drawn_seed():
    def key(settings: Settings) -> str:
        return picture_key(make_plan(settings, CARD), seed_drawn=settings.seed is None)

    assert key(OPEN) == key(OPEN) == key(dataclasses.replace(OPEN, gaussian_sigma=2.0, target=64))
    assert len({key(OPEN), key(SETTINGS), key(again(seed=4)), key(again(prompt="a sea"))}) == 4


def test_so_many_steps_are_named_as_are_fast_enough():
    def replan(decode: float):
        def plan(settings):
            made = make_plan(settings, CARD)
            steps = made.stages[0].num_inference_steps
            first = dataclasses.replace(made.stages[0], seconds=decode + 0.3 * steps)
            return dataclasses.replace(made, stages=(first, *made.stages[1:]))

        return plan

    slow = replan(0.4)(again(num_inference_steps=30))
    assert fast_steps(slow, replan(0.4)) == 5
    assert fast_steps(slow, replan(3.0)) is None
