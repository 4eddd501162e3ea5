"""Figures of hand-made pictures, bars, and the reports of both."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from gspn_core.evaluation.figures import (
    TRUTH,
    Bar,
    add_frechet,
    bars,
    mean_structure,
    structure,
)
from gspn_core.evaluation.report import contact_sheet, markdown, to_json
from gspn_core.metrics.classifier import Seen

GOOD = {
    ("psnr", "vae", 64): 30.0,
    ("adherence", "attention", 64): 0.95,
    ("adherence", "gspn", 64): 0.94,
    ("frechet", "attention", 64): 2.0,
    ("frechet", "gspn", 64): 2.1,
    ("frechet", "gspn", 256): 3.0,
    ("frechet", "bicubic", 256): 6.0,
    ("consistency", "gspn", 256): 25.0,
    ("repetition", "gspn", 256): 0.21,
    ("repetition", TRUTH, 256): 0.2,
    ("seams", "gspn", 256): 1.0,
    ("seams", TRUTH, 256): 1.0,
    ("megabytes", "model", 64): 31.0,
}


def noise(side, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def judged(**changes):
    return bars({**GOOD, **changes}, base_px=64, large_px=256)


def test_good_figures_clear_every_bar():
    assert len(judged()) == 9
    assert all(bar.holds for bar in judged())


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        (("psnr", "vae", 64), 28.9),
        (("adherence", "attention", 64), 0.929),
        (("adherence", "gspn", 64), 0.92),
        (("frechet", "gspn", 64), 2.3),
        (("frechet", "bicubic", 256), 4.0),
        (("consistency", "gspn", 256), 23.0),
        (("repetition", "gspn", 256), 0.23),
        (("seams", "gspn", 256), 1.2),
        (("megabytes", "model", 64), 81.0),
    ],
)
def test_one_bad_figure_fails_one_bar(figure, value):
    found = [bar.holds for bar in bars({**GOOD, figure: value}, base_px=64, large_px=256)]
    assert found.count(False) == 1


def test_what_was_not_measured_neither_holds_nor_fails():
    only_base = {figure: value for figure, value in GOOD.items() if figure[2] == 64}
    found = [bar.holds for bar in bars(only_base, base_px=64, large_px=256)]
    assert found.count(None) == 4 and found.count(True) == 5


def test_frechet_of_shifted_features_is_the_squared_shift():
    features = np.random.default_rng(0).normal(size=(400, 4))
    figures = {}
    add_frechet(figures, "gspn", 64, Seen(features=features + 2.0, values={}), features)
    assert figures["frechet as it is", "gspn", 64] == pytest.approx(16.0)
    assert figures["frechet", "gspn", 64] == pytest.approx(16.0, abs=0.3)


def test_structure_of_an_enlargement_by_pixels_is_consistent_and_without_new_colour():
    base = noise(32)
    found = structure(base.resize((128, 128), Image.Resampling.NEAREST), base, None)
    assert math.isinf(found["consistency"]) and found["drift"] == pytest.approx(0, abs=1e-9)
    assert mean_structure([found])["consistency"] == 100


def test_seams_are_found_on_the_edges_of_the_base_size_and_of_tiles():
    flat = np.random.default_rng(0).integers(100, 110, (128, 128, 3), dtype=np.uint8)
    base = Image.fromarray(flat[:32, :32])
    on_base, on_tile = flat.copy(), flat.copy()
    on_base[:, 64:] += 60
    on_tile[:, 48:] += 60
    assert structure(Image.fromarray(flat), base, None)["seams"] < 1.2
    assert structure(Image.fromarray(on_base), base, None)["seams"] > 1.8
    assert structure(Image.fromarray(on_tile), base, None)["seams"] < 1.2
    assert structure(Image.fromarray(on_tile), base, 64)["seams"] > 1.8


def test_markdown_puts_the_bar_next_to_each_figure():
    figures = {**GOOD, ("psnr", "vae", 64): 28.0, ("adherence time", "gspn", 64): 0.875}
    text = markdown(figures, bars(figures, base_px=64, large_px=256), ("a note",))
    assert "| autoencoder, reconstruction of renders | 28.00 dB | at least 29 dB | **fails** |" in text
    assert "| files of the model | 31.00 MB | at most 80 MB | holds |" in text
    assert "| time | – | 87.5 |" in text
    assert "| gspn | 2.100 | 3.000 |" in text
    assert text.endswith("- a note\n")


def test_markdown_has_as_many_cells_in_each_row_as_columns():
    for table in markdown(GOOD, judged(), ()).split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.splitlines()}) == 1


def test_json_holds_every_figure_and_verdict_and_no_infinity():
    figures = {**GOOD, ("consistency", "gspn", 256): math.inf}
    record = json.loads(json.dumps(to_json(figures, judged(), {"steps": 2}), allow_nan=False))
    assert len(record["figures"]) == len(figures)
    assert {"figure": "consistency", "source": "gspn", "px": 256, "value": None} in record["figures"]
    assert all(bar["holds"] for bar in record["bars"]) and record["setting"] == {"steps": 2}


def test_a_bar_at_its_limit_holds():
    assert Bar(name="a", value=2.0, sense="at most", limit=2.0).holds
    assert Bar(name="a", value=2.0, sense="at least", limit=2.0).holds


def test_the_contact_sheet_shows_each_picture_in_its_cell():
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("#ff0000", "#0000ff"))
    sheet = contact_sheet([("a prompt", (red, blue)), ("another", (blue, red))], ("left", "right"), 16)
    pixels = np.asarray(sheet)
    for colour in ((255, 0, 0), (0, 0, 255)):
        assert (pixels == colour).all(axis=2).sum() == 2 * 16 * 16
