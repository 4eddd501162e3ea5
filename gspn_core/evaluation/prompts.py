"""Held-out captions, each with its scene and the attributes that it names."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gspn_core.world.captions import describe
from gspn_core.world.scene import ATTRIBUTES, Scene, sample_scene

# Training draws scenes from (seed, number); a third number makes these different from all of them.
_PROMPTS, _REFERENCES = 1, 2


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A caption, the scene behind it and the attributes that the caption names.

    number: its index, also the seed of its pictures.
    """

    number: int
    text: str
    scene: Scene
    named: frozenset[str]


def held_out_prompts(count: int, *, seed: int = 0) -> tuple[Prompt, ...]:
    """Return the first `count` prompts; a longer list begins with the shorter one."""
    return tuple(_prompt(number, seed) for number in range(count))


def reference_scene(number: int, *, seed: int = 0) -> Scene:
    """Return a scene that is neither used for training nor for a prompt."""
    return sample_scene(np.random.default_rng((seed, number, _REFERENCES)))


def _prompt(number: int, seed: int) -> Prompt:
    rng = np.random.default_rng((seed, number, _PROMPTS))
    scene = sample_scene(rng)
    text, named = describe(scene, rng)
    return Prompt(number=number, text=text, scene=scene, named=named)


def adherence(
    prompts: Sequence[Prompt], values: Mapping[str, Sequence[str]]
) -> tuple[dict[str, float], float]:
    """Return the share of pictures that show what their prompts name: per attribute, and averaged over them.

    values: per attribute, the value seen in each prompt's picture. An attribute counts only if the prompt
    names it; one that no prompt names is left out.
    """
    right, asked = Counter(), Counter()
    for place, prompt in enumerate(prompts):
        shown = prompt.scene.attributes()
        for name in prompt.named:
            asked[name] += 1
            right[name] += values[name][place] == shown[name]
    shares = {name: right[name] / asked[name] for name in ATTRIBUTES if asked[name]}
    return shares, _mean(shares.values())


def _mean(values: Iterable[float]) -> float:
    found = [*values]
    return sum(found) / len(found) if found else float("nan")
