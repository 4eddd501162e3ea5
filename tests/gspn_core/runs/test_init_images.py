import os
import time

import pytest
from PIL import Image

from gspn_core.errors import BadSetting, GspnError
from gspn_core.images.load import reference_of
from gspn_core.runs import init_images as module
from gspn_core.runs.init_images import InitImages
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings


@pytest.fixture
def used():
    return set()


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def starts(tmp_path, used, clock):
    return InitImages(tmp_path / "starts", lambda: used, clock)


@pytest.fixture
def photograph(tmp_path):
    """Return a function: a file of one colour."""

    def write(colour=(20, 90, 200), name="photograph.png"):
        exif = Image.Exif()
        exif[0x010E] = "at home"
        Image.new("RGB", (96, 64), colour).save(tmp_path / name, exif=exif)
        return tmp_path / name

    return write


@pytest.fixture
def jobs(make_engine, tmp_path):
    engine = make_engine()
    opened = RunQueue(engine.run, tmp_path / "jobs", plan=engine.plan, view_seconds=0.0)
    opened.engine = engine
    yield opened
    opened.close()


def names(starts: InitImages) -> list[str]:
    return sorted(path.name for path in starts.folder.iterdir())


def test_the_same_picture_is_kept_once_and_only_its_pixels(starts, photograph):
    reference = starts.take(photograph(), "mine.png")
    assert starts.take(photograph(name="copy.bmp"), "copy.bmp") == reference
    assert names(starts) == [f"{reference}.jpg", f"{reference}.png"]
    kept = starts.picture(reference)
    assert reference_of(kept) == reference and kept.size == (96, 64)
    assert b"at home" not in (starts.folder / f"{reference}.png").read_bytes()
    assert starts.proxy(reference).is_file()


def test_a_picture_of_this_studio_is_shrunk_to_what_is_kept(starts):
    reference = starts.put(Image.new("RGB", (8192, 4096)))
    assert starts.picture(reference).size == (4096, 2048)


def test_a_picture_that_is_gone_or_changed_is_refused(starts, photograph):
    reference = starts.take(photograph(), "mine.png")
    Image.new("RGB", (96, 64), "red").save(starts.folder / f"{reference}.png")
    for ask in (starts.picture,):
        with pytest.raises(BadSetting, match="is not kept here; hand it in again"):
            ask(reference)
    (starts.folder / f"{reference}.png").unlink()
    for ask in (starts.picture, starts.check):
        with pytest.raises(BadSetting, match="is not kept here; hand it in again"):
            ask(reference)
    assert starts.proxy(reference) is None


@pytest.mark.parametrize("reference", ["../job", "", f"96x64-{'0' * 63}/", None])
def test_only_a_reference_names_a_file(starts, reference):
    for ask in (starts.picture, starts.check, starts.proxy):
        with pytest.raises(BadSetting):
            ask(reference)


def test_unused_pictures_are_removed_after_a_day_and_used_ones_stay(starts, used, photograph, clock):
    kept, _unused = (starts.take(photograph((value, 0, 0)), "a.png") for value in (10, 20))
    used.add(kept)
    clock.seconds += module.UNUSED_SECONDS + 60
    fresh = starts.take(photograph((30, 0, 0)), "a.png")
    starts.sweep()
    assert names(starts) == sorted(
        f"{reference}.{end}" for reference in (kept, fresh) for end in ("jpg", "png")
    )


def test_of_pictures_that_nothing_is_made_of_the_oldest_go_first(starts, used, photograph, monkeypatch):
    monkeypatch.setattr(module, "MOST_UNUSED", 2)
    given = [starts.take(photograph((value, 0, 0)), "a.png") for value in (10, 20)]
    used.add(given[0])
    more = [starts.take(photograph((value, 0, 0)), "a.png") for value in (30, 40)]
    assert {name.partition(".")[0] for name in names(starts)} == {given[0], *more}


@pytest.mark.parametrize("jump", [-400 * 86400, 400 * 86400])
def test_a_wall_clock_that_jumps_takes_no_picture(starts, photograph, monkeypatch, jump):
    first = starts.take(photograph((10, 0, 0)), "a.png")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    os.utime(starts.folder / f"{first}.png", (now - jump, now - jump))
    second = starts.take(photograph((20, 0, 0)), "a.png")
    starts.sweep()
    assert {name.partition(".")[0] for name in names(starts)} == {first, second}


def test_pictures_from_before_the_start_are_kept_for_a_day(starts, used, photograph, clock):
    first = starts.take(photograph((10, 0, 0)), "a.png")
    os.utime(starts.folder / f"{first}.png", (5.0, 5.0))
    after = InitImages(starts.folder, lambda: used, clock)
    after.sweep()
    assert len(names(after)) == 2
    clock.seconds += module.UNUSED_SECONDS + 1
    after.sweep()
    assert names(after) == []


def test_one_visitors_pictures_take_no_other_visitors_place(starts, photograph, monkeypatch):
    monkeypatch.setattr(module, "MOST_UNUSED", 12)
    monkeypatch.setattr(module, "MOST_UNUSED_EACH", 5)
    bens = starts.take(photograph((1, 2, 3)), "a.png", "ben")
    annas = [starts.take(photograph((0, value, 0)), "a.png", "anna") for value in range(60)]
    kept = {name.partition(".")[0] for name in names(starts)}
    assert kept == {bens, *annas[-5:]}
    # Nor does a visitor with many names: the owner with the most loses pictures.
    more = [starts.take(photograph((0, 0, value)), "a.png", f"name {value}") for value in range(20)]
    kept = {name.partition(".")[0] for name in names(starts)}
    assert len(kept) == 12 and more[-1] in kept and annas[0] not in kept


def test_a_full_disk_is_reported(starts, photograph, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_proxy", full)
    with pytest.raises(GspnError, match="No space left on device"):
        starts.take(photograph(), "mine.png")


def done(jobs, job_id):
    *_, view = jobs.follow(job_id)
    return view


def test_a_run_is_given_the_picture_that_it_starts_from_and_both_go_together(jobs, photograph):
    reference = jobs.take_start(photograph(), "mine.png")
    job_id = jobs.submit(Settings(prompt="a lake", seed=3, target=256, start=reference), visitor="me")
    view = done(jobs, job_id)
    assert view.state == "done" and view.settings["start"] == reference
    assert [stage.steps for stage in view.stages] == [0, 2, 2]
    assert reference_of(jobs.engine.starts[0]) == reference
    again = jobs.resume(job_id, visitor="me")
    assert all(stage.reused for stage in done(jobs, again).stages)
    jobs.delete(job_id, "me")
    jobs.delete(again, "me")
    assert list((jobs.folder / "starts").iterdir()) == []


def test_a_run_from_a_picture_that_is_not_here_is_refused_at_once(jobs):
    with pytest.raises(BadSetting, match="hand it in again") as caught:
        jobs.submit(Settings(prompt="a lake", target=256, start=f"96x64-{'0' * 64}"))
    assert caught.value.field == "start"


def test_a_finished_stage_can_be_an_init_image(jobs):
    job_id = jobs.submit(Settings(prompt="a lake", seed=3, target=128))
    stages = done(jobs, job_id).stages
    reference = jobs.start_from(job_id, 1)
    with Image.open(stages[1].png_path) as picture:
        assert reference_of(picture) == reference
    assert jobs.start_proxy(reference).is_file()
    with pytest.raises(GspnError, match="there is no stage 3"):
        jobs.start_from(job_id, 2)


def test_a_kept_picture_takes_no_seconds(jobs, photograph):
    reference = jobs.take_start(photograph(), "mine.png")
    plan = jobs.plan(Settings(prompt="a lake", target=256, start=reference))
    assert jobs.stage_seconds(plan.stages[0], 0) == 0.0
    assert jobs.stage_seconds(plan.stages[1], 2) is None
