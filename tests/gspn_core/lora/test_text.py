"""The setting and the prompt's tags: one text each, strict, and joined."""

import time

import pytest

from gspn_core.errors import BadSetting
from gspn_core.lora.text import (
    MAX_LORAS,
    LoraUse,
    loras_text,
    parse_loras,
    readable_tags,
    tags_text,
    take_tags,
)
from gspn_core.settings import Settings


def test_a_text_is_sorted_and_comes_back():
    uses = parse_loras(" snow : 0.50,ink:0.8,\n My Style v1.0 , none:0")
    assert uses == (LoraUse("My Style v1.0", 1.0), LoraUse("ink", 0.8), LoraUse("snow", 0.5))
    assert loras_text(uses) == "My Style v1.0:1, ink:0.8, snow:0.5"
    assert parse_loras(loras_text(uses)) == uses
    assert Settings(prompt="a hill", loras="snow:.5, ink:+0.8").loras == "ink:0.8, snow:0.5"


@pytest.mark.parametrize(
    "text",
    [
        "ink:much",
        "ink:0.8:0.5",
        "../ink:1",
        "a/b",
        "a\\b:1",
        "<ink>:1",
        ":1",
        'ink"',
        "ink\x00:1",
        "ink:nan",
        "ink:1e3",
        "n" * 101,
        "ink:1, " * 300,
        7,
        None,
        ["ink"],
    ],
)
def test_any_other_text_is_refused_in_a_sentence(text):
    with pytest.raises(BadSetting, match=r"^loras.*\.$") as refusal:
        parse_loras(text)
    assert refusal.value.field == "loras"


def test_bounds_are_said_with_what_fits():
    many = ", ".join(f"lora{i}:1" for i in range(MAX_LORAS + 1))
    with pytest.raises(BadSetting, match=f"9 LoRA files, at most {MAX_LORAS}"):
        parse_loras(many)
    with pytest.raises(BadSetting, match="from -4 to 4, got 9; try 4"):
        parse_loras("ink:9")
    with pytest.raises(BadSetting, match="from -4 to 4, got -4.5; try -4"):
        parse_loras("ink:-4.5")
    with pytest.raises(BadSetting, match="ink is named twice"):
        parse_loras("ink:1, ink:0.5")


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("a castle <lora:ink:0.8>", "a castle"),
        ("<lora:ink:0.8> a castle", "a castle"),
        ("<lora:ink:0.8>, a castle", "a castle"),
        ("a castle, <lora:ink:0.8>, dusk", "a castle, dusk"),
        ("a castle, <lora:ink:0.8> dusk", "a castle, dusk"),
        ("a castle <LORA:ink:.8>, dusk", "a castle, dusk"),
        ("a castle,<lyco:ink:0.8>", "a castle"),
        ("a (castle <lora:ink:0.8>:1.3)", "a (castle:1.3)"),
    ],
)
def test_tags_are_taken_out_of_a_prompt(prompt, left):
    assert take_tags(prompt) == (left, (LoraUse("ink", 0.8),))


def test_a_prompt_without_tags_stays_as_it_is():
    for prompt in (" a castle , dusk ", "a <b> castle", "<lora>", "lora:ink:1", "1 < 2"):
        assert take_tags(prompt) == (prompt, ())


def test_equal_tags_add_up_and_weights_are_one_by_default():
    prompt = "a <lora:ink> hill <lora:ink:-0.5> <lora:snow:0>"
    assert take_tags(prompt) == ("a hill", (LoraUse("ink", 0.5),))
    assert tags_text(take_tags(prompt)[1]) == "<lora:ink:0.5>"


@pytest.mark.parametrize(
    "tag", ["<lora:ink:much>", "<lora:>", "<lora:ink:1:0.5>", "<lora:../../x:1>", "<lora:ink:99>"]
)
def test_a_tag_of_another_form_is_refused(tag):
    with pytest.raises(BadSetting) as refusal:
        take_tags(f"a hill {tag}")
    assert refusal.value.field == "prompt" and str(refusal.value).startswith("prompt")


def test_a_hundred_tags_are_refused_and_a_long_prompt_takes_no_time():
    with pytest.raises(BadSetting, match="prompt has 100 LoRA tags, at most 8 fit"):
        take_tags("a hill " + "<lora:ink:0.1>" * 100)
    began = time.perf_counter()
    for text in (" " * 2000, "<lora:" * 333, ", " * 1000, "<lora:" + " " * 1990):
        take_tags(text)
    assert time.perf_counter() - began < 0.5


def test_tags_of_other_tools_are_read_as_far_as_they_can_be():
    prompt = "a <lora:ink:0.8> b <lora:ink:1> <lora:snow:0.5:0.7> <lora:dusk:0>"
    assert readable_tags(prompt) == ((LoraUse("ink", 0.8),), ("<lora:ink:1>", "<lora:snow:0.5:0.7>"))
