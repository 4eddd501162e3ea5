"""The grid that comes with the embedded model: whole, small, and of what its command draws."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from PIL import Image

from gspn_core.cli.sample_grid import AXES, BASE
from gspn_core.models.catalog import WORLD
from gspn_core.settings import Settings
from gspn_core.studies.sample import FILE, GRID_FOLDER, cell_file, read_sample, write_sample

MOST_BYTES = 400_000


def test_it_is_what_its_command_draws_and_light():
    view = read_sample()
    assert view.axes == AXES and len(view.cells) == 9
    assert Settings.from_dict(view.base) == BASE
    assert BASE.target in WORLD.targets
    for number, cell in enumerate(view.cells):
        with Image.open(cell_file(GRID_FOLDER, number)) as image:
            assert image.format == "WEBP" and max(image.size) == 320
        assert cell.adherence is not None and cell.job_id is None
        # Of whichever machine drew it.
        assert cell.seconds is None and cell.processor_seconds is None and cell.peak_bytes is None
    assert sum(path.stat().st_size for path in GRID_FOLDER.iterdir()) < MOST_BYTES
    # Its cells differ from each other.
    assert len({cell_file(GRID_FOLDER, number).read_bytes() for number in range(9)}) == 9


def test_what_is_written_is_read_without_what_belongs_to_its_server(tmp_path):
    view = read_sample()
    ran = view.with_cell(0, job_id="a" * 20, stage=1, seconds=3.0, peak_bytes=10)
    write_sample(tmp_path, ran, [Image.new("RGB", (512, 256), "teal")] * 9)
    assert read_sample(tmp_path) == replace(view, version=0)
    with Image.open(cell_file(tmp_path, 8)) as image:
        assert image.size == (320, 160)


@pytest.mark.parametrize("damage", ["gone", "record", "cell", "unfinished"])
def test_a_grid_that_is_not_whole_is_none(tmp_path, damage):
    folder = tmp_path / "grid"
    if damage != "gone":
        shutil.copytree(GRID_FOLDER, folder)
    if damage == "record":
        (folder / FILE).write_text("{}")
    elif damage == "cell":
        cell_file(folder, 4).unlink()
    elif damage == "unfinished":
        write_sample(folder, read_sample().with_cell(2, state="failed"), [])
    assert read_sample(folder) is None
