"""The file of a grid: what an export has, or base and axes alone; lists and typed texts are the same."""

from __future__ import annotations

import json

import pytest

from gspn_core.models.catalog import WORLD
from gspn_core.settings import Settings
from gspn_core.studies.axis import Axis, listed_axis, parse_axis
from gspn_core.studies.grid_file import EXAMPLE, read_grid
from gspn_core.studies.sample import FILE, GRID_FOLDER, read_sample


def test_an_exported_grid_is_read_as_it_was_made():
    view, grid = read_sample(), read_grid(GRID_FOLDER / FILE, WORLD)
    assert grid.axes == view.axes
    # What an axis gives is the first of its values in the base.
    first = {axis.name: axis.values[0] for axis in view.axes}
    assert grid.base == Settings.from_dict({**view.base, **first})


def test_the_example_of_the_refusals_and_the_help_is_a_grid(tmp_path, card):
    (tmp_path / "grid.json").write_text(EXAMPLE)
    grid = read_grid(tmp_path / "grid.json", card)
    assert grid.axes == (Axis(name="seed", values=(7, 8, 9, 10)),)
    assert (grid.base.prompt, grid.base.seed) == ("a lake", 7)


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("guidance_scale", [1, 2.5, 1], "1, 2.5"),
        ("seed", [3, 4.0], "3, 4"),
        ("target", [64, 128], "64, 128"),
        ("mixer", ["gspn", "attention"], "all"),
        ("prompt", ["a lake", "a hill"], "a lake\na hill"),
        ("negative_prompt", ["", "fog"], '""\nfog'),
        ("aspect", ["1:1", "3:2"], "1:1; 3:2"),
    ],
)
def test_a_list_is_the_axis_that_its_text_makes(card, name, values, text):
    listed, parsed = listed_axis(name, values, card), parse_axis(name, text, card)
    assert json.dumps(listed.values) == json.dumps(parsed.values)
    assert listed == parsed
