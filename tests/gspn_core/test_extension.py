"""What is added at the sides of a picture, as text and in px."""

import pytest

from gspn_core.errors import BadSetting
from gspn_core.extension import MAX_EXTEND_PERCENT, NO_MARGINS, Extension, Margins, parse_extension
from gspn_core.settings import Settings


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("left 0 top 0", ""),
        ("left 25 right 25", "left 25 right 25"),
        ("bottom 12.5%, left 100%;", "left 100 bottom 12.5"),
    ],
)
def test_an_extension_is_kept_as_text_that_says_the_same_again(text, kept):
    settings = Settings(prompt="a", extend=text)
    assert settings.extend == kept
    assert Settings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize(
    "text", ["25", "left", "left -5", "left 25 left 25", "up 10", "left 1e1", "left nan", "x" * 101, None, 7]
)
def test_another_text_is_refused_with_an_example(text):
    with pytest.raises(BadSetting, match="each once, such as left 25 right 25 top 10, got") as refusal:
        parse_extension(text)
    assert refusal.value.field == "extend"


def test_a_side_that_grows_too_much_is_refused_with_its_number_and_the_most():
    with pytest.raises(BadSetting, match="left is 101 percent, at most 100 fit at a side; try 100"):
        parse_extension("left 101")
    assert parse_extension(f"left {MAX_EXTEND_PERCENT}") == Extension(left=MAX_EXTEND_PERCENT)


@pytest.mark.parametrize(
    ("text", "margins"),
    [
        ("left 25 right 50", Margins(left=128, right=256)),
        ("top 10 bottom 0.1", Margins(top=32, bottom=32)),
        ("top 100", Margins(top=256)),
    ],
)
def test_margins_are_multiples_of_the_models_unit(text, margins):
    assert parse_extension(text).margins(256, 512, 32) == margins
    assert Extension().margins(256, 512, 32) == NO_MARGINS
