"""Held-out prompts, and the adherence of pictures to them."""

import numpy as np
import pytest

from gspn_core.evaluation.prompts import adherence, held_out_prompts, reference_scene
from gspn_core.world.scene import ATTRIBUTES, sample_scene


def test_a_longer_list_of_prompts_begins_with_the_shorter_one():
    assert held_out_prompts(6)[:3] == held_out_prompts(3)
    assert held_out_prompts(3, seed=1) != held_out_prompts(3)


def test_neither_prompts_nor_references_are_scenes_that_training_draws():
    trained = {sample_scene(np.random.default_rng((0, number))) for number in range(200)}
    prompts = {prompt.scene for prompt in held_out_prompts(100)}
    references = {reference_scene(number) for number in range(100)}
    assert not trained & prompts and not trained & references and not prompts & references


def test_captions_name_some_attributes_and_rarely_all():
    prompts = held_out_prompts(100)
    assert all(prompt.text and prompt.named and prompt.named <= set(ATTRIBUTES) for prompt in prompts)
    assert {name for prompt in prompts for name in prompt.named} == set(ATTRIBUTES)
    assert any(prompt.named != set(ATTRIBUTES) for prompt in prompts)


def test_a_classifier_that_is_always_right_finds_full_adherence():
    prompts = held_out_prompts(20)
    values = {name: [prompt.scene.attributes()[name] for prompt in prompts] for name in ATTRIBUTES}
    shares, mean = adherence(prompts, values)
    assert mean == 1 and set(shares.values()) == {1}


def test_a_classifier_that_is_always_wrong_finds_none():
    prompts = held_out_prompts(20)
    values = {name: ["nothing of the kind"] * 20 for name in ATTRIBUTES}
    shares, mean = adherence(prompts, values)
    assert mean == 0 and set(shares.values()) == {0}


def test_attributes_that_a_caption_does_not_name_do_not_count():
    prompts = held_out_prompts(20)
    values = {
        name: [prompt.scene.attributes()[name] if name in prompt.named else "other" for prompt in prompts]
        for name in ATTRIBUTES
    }
    assert adherence(prompts, values)[1] == 1


def test_the_mean_weighs_every_attribute_alike():
    prompts = held_out_prompts(40)
    wrong = next(iter(ATTRIBUTES))
    values = {name: [prompt.scene.attributes()[name] for prompt in prompts] for name in ATTRIBUTES}
    values[wrong] = ["other"] * len(prompts)
    shares, mean = adherence(prompts, values)
    assert shares[wrong] == 0
    assert mean == pytest.approx(1 - 1 / len(shares))
