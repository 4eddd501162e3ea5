from __future__ import annotations

import re

import numpy as np
import pytest

from gspn_core.world.captions import (
    EXAMPLES,
    caption,
    corpus,
    describe,
    hint,
    read_attributes,
    read_words,
    vocabulary,
)
from gspn_core.world.scene import Scene, sample_scene


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text)


def test_every_word_of_a_caption_is_in_the_vocabulary():
    said = {word for text in corpus(3000, np.random.default_rng(1)) for word in words(text)}
    assert said <= vocabulary()


def test_every_word_of_the_vocabulary_is_said_sooner_or_later():
    said = {word for text in corpus(12000, np.random.default_rng(2)) for word in words(text)}
    assert vocabulary() - said == set()


def test_captions_are_never_empty_and_lower_case():
    for text in corpus(1000, np.random.default_rng(3)):
        assert words(text)
        assert text == text.lower().strip()
        assert re.fullmatch(r"[a-z]+(,? [a-z]+)*", text), text


def test_one_scene_has_many_captions():
    rng = np.random.default_rng(4)
    scene = sample_scene(rng)
    assert len({caption(scene, rng) for _ in range(100)}) > 60


def test_captions_never_contradict_the_scene():
    rng = np.random.default_rng(5)
    scene = Scene(
        time="night",
        sky="clear",
        celestial="none",
        terrain="hills",
        cover="green",
        foreground="meadow",
    )
    wrong = {
        "sun",
        "rain",
        "fog",
        "cabin",
        "river",
        "autumn",
        "snowy",
        "snow",
        "red",
        "dunes",
        "mountains",
        "lake",
        "dusk",
        "dawn",
        "white",
    }
    said = {word for _ in range(500) for word in words(caption(scene, rng))}
    assert said & wrong == set()
    assert {"night", "hills", "green", "meadow"} <= said


def test_the_same_generator_state_says_the_same_caption():
    assert corpus(5, np.random.default_rng(6)) == corpus(5, np.random.default_rng(6))


def test_the_examples_are_ten_and_say_only_known_words():
    assert len(set(EXAMPLES)) == len(EXAMPLES) == 10
    assert [read_words(example)[1] for example in EXAMPLES] == [()] * 10


def test_the_attributes_returned_are_those_that_the_caption_names():
    rng = np.random.default_rng(9)
    scene = Scene(
        time="dusk",
        sky="cloudy",
        celestial="sun",
        terrain="cliffs",
        cover="rocky",
        foreground="beach",
        weather="fog",
        object="lighthouse",
        palette="vivid",
    )
    giveaways = {
        "terrain": {"cliffs"},
        "foreground": {"beach", "sea"},
        "weather": {"fog", "foggy", "mist", "misty"},
        "object": {"lighthouse"},
        "palette": {"vivid", "saturated", "strong"},
    }
    for _ in range(300):
        text, named = describe(scene, rng)
        for name, giveaway in giveaways.items():
            assert (name in named) == bool(giveaway & set(words(text))), text


def test_the_hint_is_short_and_in_the_worlds_own_words():
    said, tried = hint().split("; try ")
    assert said == "it draws landscapes" and len(hint()) < 100
    assert read_words(tried)[1] == ()
    assert "mountains" in tried and "a lake" in tried and "a lighthouse" in tried


def test_unknown_words_come_back_in_order_without_known_plurals():
    prompt = "A Castle over the LAKES, with two dragons and a cloud!"
    assert read_words(prompt)[1] == ("castle", "two", "dragons")
    assert read_words("") == ((), ())


@pytest.mark.parametrize("prompt", ["12345", "_", "zebra's", "東京2", "雪山", "the of a", "!!!", "🏔️"])
def test_prompts_that_say_nothing_to_the_world_have_no_known_word(prompt):
    assert read_words(prompt)[0] == ()


def test_known_words_come_back_in_order():
    assert read_words("The LAKE's mountain, and a dragon")[0] == ("lake", "mountain")


def test_what_a_caption_tells_is_read_back_and_nothing_else():
    rng = np.random.default_rng(6)
    for _ in range(400):
        scene = sample_scene(rng)
        text, named = describe(scene, rng)
        assert read_attributes(text) == {name: (getattr(scene, name),) for name in named}, text


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_names_five_attributes_or_more_without_contradiction(example):
    read = read_attributes(example)
    assert len(read) >= 5
    assert all(len(values) == 1 for values in read.values())


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("", {}),
        ("a dragon", {}),
        ("no birds, a lighthouse without clouds", {"object": ("lighthouse",)}),
        (
            "Misty DUNES; lighthouses!",
            {"weather": ("fog",), "terrain": ("dunes",), "object": ("lighthouse",)},
        ),
        ("a lake at dawn or at dusk", {"foreground": ("lake",), "time": ("dawn", "dusk")}),
        ("moonless", {"celestial": ("none",)}),
        ("(.*", {}),
    ],
)
def test_other_words_are_read_as_far_as_they_are_the_worlds(prompt, read):
    assert read_attributes(prompt) == read
