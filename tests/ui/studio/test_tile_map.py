"""The map of the tiles that a run to come would redraw."""

import pytest
from PIL import Image

from gspn_core.kinds.tiles import drawn_crops
from gspn_core.settings import FIELD_NAMES
from tests.ui.studio.conftest import start
from ui.form.form import settings_from
from ui.studio import tile_map as module


@pytest.fixture
def map_of(runs, values):
    """Return a function: the map for a run on the screen and changes of the form."""

    def found(job, **changes):
        form = [{**values, "target": 128, "ladder": "64 tiles:128", **changes}[name] for name in FIELD_NAMES]
        return runs.outline(job, runs.forecast(form))["ahead"]["tiles"]

    return found


@pytest.fixture
def job(runs, values) -> str:
    *_, last = start(runs, values)
    return last["job"]


def test_the_map_has_the_tiles_that_the_stage_will_draw(map_of, job, jobs, values):
    shown = map_of(job)
    plan = jobs.plan(
        settings_from([{**values, "target": 128, "ladder": "64 tiles:128"}[n] for n in FIELD_NAMES])
    )
    with Image.open(jobs.view(job).stages[0].png_path) as image:
        crops = drawn_crops(image, plan.stages[1].tiling, (64, 64))
    assert (shown["width"], shown["height"]) == (64, 64)
    assert [[round(128 * share) for share in box] for box in shown["boxes"]] == [
        [left, top, width, height] for top, left, height, width in crops
    ]


def test_the_map_follows_the_slider(map_of, job):
    assert [len(map_of(job, tile_share=share)["boxes"]) for share in (0.0, 0.25, 0.5, 1.0)] == [0, 1, 2, 4]


def test_there_is_no_map_without_a_stage_in_tiles_or_a_picture_to_enlarge(map_of, job):
    assert map_of(job, ladder="64 128") is None
    assert map_of(None) is None and map_of("x" * 12) is None
    assert map_of(job, target=256, ladder="64 128 256 tiles:256") is None


def test_a_large_picture_is_left_alone(map_of, job, monkeypatch):
    monkeypatch.setattr(module, "MOST_PX", 32)
    assert map_of(job) is None
