"""Downloads of a run besides its PNGs: written once, with the same settings, and gone with the run."""

from __future__ import annotations

import io
import json
import zipfile
from xml.etree import ElementTree

import pytest
from PIL import Image

from gspn_core.errors import GspnError
from gspn_core.images.formats import FILM_PX, fits
from gspn_core.runs.downloads import FILM, ZIP
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from tests.drills.toy import paint, plan_of

VISITOR = "a visitor"
PROMPT = "a toy house · 家"


@pytest.fixture
def jobs(tmp_path):
    queue = RunQueue(paint, tmp_path / "jobs", plan=plan_of, view_seconds=0.0)
    yield queue
    queue.close()


@pytest.fixture
def run(jobs) -> str:
    job = jobs.submit(Settings(prompt=PROMPT, seed=5, target=256), visitor=VISITOR)
    list(jobs.follow(job))
    return job


def names_of(jobs: RunQueue, job: str, ending: str) -> list[str]:
    return [f"stage-{s.index}-{s.width}x{s.height}.{ending}" for s in jobs.view(job).stages]


@pytest.mark.parametrize(("ending", "kind"), [("webp", "WEBP"), ("jpeg", "JPEG")])
def test_a_stage_is_written_in_another_format_with_the_settings_of_its_png(jobs, run, ending, kind):
    path = jobs.downloads.make(run, names_of(jobs, run, ending)[-1])
    with Image.open(path) as image, Image.open(jobs.view(run).stages[-1].png_path) as png:
        assert (image.format, image.size) == (kind, png.size)
        comment = image.getexif().get_ifd(0x8769)[0x9286]
        assert comment[:8] == b"UNICODE\0"
        assert comment[8:].decode("utf-16-be") == png.text["parameters"]
        assert PROMPT in png.text["parameters"]
        found = ElementTree.fromstring(image.info["xmp"]).find(".//{*}Description")
        assert json.loads(found.get("{urn:gspn-studio}settings")) == json.loads(png.text["gspn_studio"])


def test_it_is_written_once_and_counts_for_the_quota(jobs, run):
    before = jobs.usage(VISITOR)[0]
    path = jobs.downloads.make(run, names_of(jobs, run, "webp")[0])
    written = path.stat().st_mtime_ns
    assert jobs.downloads.make(run, path.name) == path
    assert path.stat().st_mtime_ns == written
    assert jobs.usage(VISITOR)[0] == before + path.stat().st_size


def test_a_film_shows_every_stage_at_one_size_with_a_hold(jobs, run):
    with Image.open(jobs.downloads.make(run, FILM)) as film:
        assert film.n_frames == len(jobs.view(run).stages) > 1
        assert film.size == (256, 256)
        assert max(film.size) <= FILM_PX
        film.seek(0)
        film.load()
        assert film.info["duration"] >= 1000


def test_a_zip_has_every_picture_and_the_settings_twice(jobs, run):
    with zipfile.ZipFile(io.BytesIO(b"".join(jobs.downloads.zip_of(run)))) as archive:
        assert archive.testzip() is None
        pictures = names_of(jobs, run, "png")
        assert set(archive.namelist()) == {"settings.json", "parameters.txt", *pictures}
        record = json.loads(archive.read("settings.json"))
        assert record["settings"]["prompt"] == PROMPT and record["settings"]["seed"] == 5
        assert "Seed: 5" in archive.read("parameters.txt").decode()
        original = (jobs.folder / run / pictures[0]).read_bytes()
        assert archive.read(pictures[0]) == original


@pytest.mark.parametrize(
    "name",
    [
        "stage-0-64x64.gif",
        "stage-9-64x64.webp",
        "stage-0-65x64.webp",
        "job.json",
        "../film.webp",
        "",
        ZIP,
    ],
)
def test_nothing_else_is_written(jobs, run, name):
    with pytest.raises(GspnError):
        jobs.downloads.make(run, name)


def test_a_removed_run_has_no_downloads(jobs, run):
    name = names_of(jobs, run, "webp")[0]
    jobs.downloads.make(run, name)
    jobs.delete(run, VISITOR)
    for ask in (lambda: jobs.downloads.make(run, name), lambda: jobs.downloads.zip_of(run)):
        with pytest.raises(GspnError, match="no run"):
            ask()
    assert not (jobs.folder / run).exists()


def test_what_a_format_cannot_hold_is_left_to_the_png():
    assert fits("jpeg", 8192, 8192) and fits("webp", 4096, 16383)
    assert not fits("webp", 256, 16384)
    assert not fits("jpeg", 16384, 8192)
