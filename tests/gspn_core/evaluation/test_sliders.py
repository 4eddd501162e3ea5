"""What sliders change, at toy size."""

import dataclasses
import json

import pytest

from gspn_core.errors import BadSetting
from gspn_core.evaluation.commands import main
from gspn_core.evaluation.slider_crops import FRONT_SLIDERS
from gspn_core.evaluation.slider_report import sliders_json, sliders_markdown, sliders_notes
from gspn_core.evaluation.sliders import SliderConfig, SliderRow, Sliders, slider_travel
from gspn_core.settings import RANGES

ROW = SliderRow(
    name="upscale_strength",
    values=(0.0, 0.5, 1.0),
    neighbours=(25.0, 39.0),
    least=22.0,
    ends=21.0,
    amplitude=(1.0, 2.0, 3.0),
    consistency=(30.0, 28.0, 25.0),
    adherence=(0.95, 0.9, 0.8),
)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """One folder for all tests, so that they share drawn pictures."""
    return tmp_path_factory.mktemp("sliders")


def config(**changes):
    given = {"sliders": ("upscale_strength",), "values": 3, "prompts": 2, "target": 128, "mixer": "attention"}
    return SliderConfig(**{**given, **changes})


@pytest.mark.parametrize("name", FRONT_SLIDERS)
def test_the_travel_goes_over_the_stops_from_end_to_end(name):
    bounds, values = RANGES[name], slider_travel(name, 5)
    assert (values[0], values[-1], len(values)) == (bounds.minimum, bounds.maximum, 5)
    for stop, value in zip(bounds.travel, values, strict=True):
        assert value == pytest.approx(stop, abs=bounds.step / 2 + 1e-9)


def test_a_setting_without_a_range_and_a_single_value_are_refused():
    with pytest.raises(BadSetting, match="'mixer' has no range; choose from upscale_strength"):
        slider_travel("mixer", 5)
    with pytest.raises(BadSetting, match="got 1 values"):
        slider_travel("upscale_strength", 1)


def test_the_base_is_drawn_once_per_prompt_and_nothing_a_second_time(model, classifier, work, silent):
    sliders = Sliders(model, classifier, work, config(), silent)
    (row,) = sliders.run()
    pictures = {px: [*work.rglob(f"attention-{px}/*.png")] for px in (64, 128)}
    assert len(pictures[64]) == 2 and len(pictures[128]) == 2 * 3
    made = {path: path.stat().st_mtime_ns for path in work.rglob("*.png")}
    assert [*Sliders(model, classifier, work, config(), silent).run()] == [row]
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.png")} == made


def test_a_slider_that_redraws_more_is_farther_from_its_base(model, classifier, work, silent):
    (row,) = Sliders(model, classifier, work, config(), silent).run()
    assert row.values == slider_travel("upscale_strength", 3)
    assert row.consistency[0] > row.consistency[-1]
    assert row.least <= min(row.neighbours) and row.ends < 100
    assert len(row.neighbours) == 2 and len(row.amplitude) == len(row.adherence) == 3


def test_a_setting_that_later_stages_do_not_read_changes_nothing(model, classifier, work, silent):
    few = config(sliders=("aesthetic_score",), values=2, prompts=1)
    (row,) = Sliders(model, classifier, work, few, silent).run()
    assert row.ends == row.neighbours[0] == 100
    assert [bar.holds for bar in row.bars] == [False, False]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": 64}, "has targets of 128, .*got 64"),
        ({"prompts": 0}, "needs a prompt"),
        ({"sliders": ("fog",)}, "'fog' has no range"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_drawn(
    model, classifier, tmp_path, changes, sentence, silent
):
    with pytest.raises(BadSetting, match=sentence):
        Sliders(model, classifier, tmp_path, config(**changes), silent)
    assert not [*tmp_path.rglob("*.png")]


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, (True, True)),
        ({"ends": 30.5}, (False, True)),
        ({"neighbours": (25.0, 41.0)}, (True, False)),
    ],
)
def test_the_bars_ask_for_visible_ends_and_for_every_pair_of_neighbours(changes, holds):
    assert tuple(bar.holds for bar in dataclasses.replace(ROW, **changes).bars) == holds


def test_the_table_says_which_bars_hold():
    inert = dataclasses.replace(ROW, name="gaussian_sigma", ends=42.0)
    text = sliders_markdown([ROW, inert], sliders_notes(4, "gspn", 1024), px=1024)
    assert "| upscale_strength | 0 · 0.5 · 1 | 32.0 | 22.0 | 39.0 | 21.0 |" in text
    assert "| gaussian_sigma, ends | 42.00 dB | at most 30 dB | **fails** |" in text
    assert "| upscale_strength, ends | 21.00 dB | at most 30 dB | holds |" in text
    record = json.loads(json.dumps(sliders_json([inert], {"values": 3}), allow_nan=False))
    assert [bar["holds"] for bar in record["sliders"][0]["bars"]] == [False, True]


def test_the_command_writes_a_table_and_a_record(trained, tmp_path, capsys):
    _, out = trained
    options = ["sliders", "--work", str(tmp_path), "--model", str(out), "--device", "cpu", "--threads", "1"]
    options += ["--sliders", "cosine_scale_1", "--values", "2", "--prompts", "1", "--target", "128"]
    assert main(options) == 0
    table = (tmp_path / "figures" / "sliders.md").read_text()
    assert table in capsys.readouterr().out and "| cosine_scale_1 |" in table
    record = json.loads((tmp_path / "figures" / "sliders.json").read_text())
    assert record["setting"]["prompts"] == 1 and record["sliders"][0]["name"] == "cosine_scale_1"
