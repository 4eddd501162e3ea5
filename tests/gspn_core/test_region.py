"""Regions as text and as masks."""

import numpy as np
import pytest

from gspn_core.errors import BadSetting
from gspn_core.region import MAX_REGION_CHARACTERS, MAX_SHAPES, parse_region
from gspn_core.settings import Settings


@pytest.mark.parametrize("text", ["", "  ", ";", " ; ;"])
def test_no_shapes_are_no_region(text):
    assert parse_region(text) is None


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("box 1 2 3 4", "box 1 2 3 4"),
        (" outside ;box   1 2.50 3 4 ; ", "outside; box 1 2.5 3 4"),
        ("brush 5 0 1000", "brush 5 0 1000"),
        ("brush 5.25 1 2 3 4;box 0 0 1000 1000", "brush 5.25 1 2 3 4; box 0 0 1000 1000"),
    ],
)
def test_a_region_is_kept_in_one_spelling(text, canonical):
    assert str(parse_region(text)) == canonical
    assert Settings(prompt="a", region=text).region == canonical
    assert parse_region(canonical) == parse_region(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "box",
            "box 1 2 3",
            "box 1 2 3 4 5",
            "box 1 2 0 4",
            "box 1 2 3 0",
            "box -1 2 3 4",
            "box 1 2 3 1001",
        ),
        *("brush", "brush 5", "brush 5 1", "brush 0 1 2", "brush 5 1 2 3", "circle 1 2 3", "outside"),
        *("box 1,2,3,4", "box nan 1 2 3", "box 1e2 1 2 3", "outside; outside", "box 1 2 3 4 outside"),
        *("box ١ 2 3 4", "box 99999 1 2 3", "box 1.234 2 3 4"),
    ],
)
def test_other_text_is_refused_with_an_example(text):
    with pytest.raises(BadSetting, match=r"^region must be shapes such as box .*, got '") as caught:
        parse_region(text)
    assert caught.value.field == "region"
    with pytest.raises(BadSetting):
        Settings(prompt="a", region=text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("box 1 2 3 4;" * (MAX_SHAPES + 1), f"has {MAX_SHAPES + 1} shapes, at most {MAX_SHAPES} fit"),
        ("x" * (MAX_REGION_CHARACTERS + 1), "at most 20,000 characters"),
    ],
)
def test_too_much_is_refused_with_the_limit(text, said):
    with pytest.raises(BadSetting, match=said):
        parse_region(text)


@pytest.mark.parametrize("value", [None, 3, ["box 1 2 3 4"], {"box": 1}])
def test_what_is_no_text_is_refused(value):
    with pytest.raises((BadSetting, TypeError)):
        Settings(prompt="a", region=value)


@pytest.mark.parametrize("side", [64, 500, 1024])
def test_a_box_covers_its_share_of_a_picture_of_any_size(side):
    mask = np.asarray(parse_region("box 250 500 500 250").mask(side, 2 * side))
    inside = np.argwhere(mask == 255)
    assert set(np.unique(mask)) == {0, 255}
    assert mask.mean() / 255 == pytest.approx(1 / 8, abs=0.02)
    assert inside.min(0) == pytest.approx([side / 2, side / 2], abs=2)
    assert inside.max(0) == pytest.approx([side * 0.75, side * 1.5], abs=2)


def test_a_brush_covers_a_band_along_its_points():
    mask = np.asarray(parse_region("brush 50 200 500 800 500").mask(200, 400)) > 0
    assert mask[100, 80:320].all() and mask[82:118, 200].all()
    assert not mask[:75].any() and not mask[125:].any()
    assert not mask[:, :55].any() and not mask[:, 345:].any()


def test_outside_is_all_that_the_shapes_leave_out():
    inside = np.asarray(parse_region("box 100 100 300 300; brush 40 700 700").mask(96, 128))
    outside = np.asarray(parse_region("outside; box 100 100 300 300; brush 40 700 700").mask(96, 128))
    assert ((inside > 0) ^ (outside > 0)).all()


def test_a_region_without_a_pixel_is_refused():
    with pytest.raises(BadSetting, match="region holds no pixel of a picture of 64×64 px; draw it larger"):
        parse_region("outside; box 0 0 1000 1000").mask(64, 64)


@pytest.mark.parametrize("value", [["box"], {"a": 1}, 5, None, True, "x" * (MAX_REGION_CHARACTERS + 1)])
def test_what_is_not_a_text_of_that_length_is_refused(value):
    with pytest.raises(BadSetting, match="^region must be text"):
        Settings(prompt="a", region=value)
