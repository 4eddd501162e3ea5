"""What a cascade's settings do to its pictures: one is changed at a time, all else stays the model's own.

Only a world that is rendered at every size tells added detail that is true from detail that is made up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gspn_core.cascade.stage import stage_weights
from gspn_core.errors import BadSetting
from gspn_core.plan import pair_calls
from gspn_core.settings import Settings, read_value
from gspn_core.world._figures import DECODED, TRUTH
from gspn_core.world._measure import Evaluation

OWN = "the model's own settings"
FIGURES = ("frechet", "detail", "consistency", "drift", "repetition", "adherence")
# What the rows are held against: less than any cascade, as much as any can show, and the truth.
REFERENCES = ("bicubic", DECODED, TRUTH)


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Settings in place of the model's own, and what the table calls them."""

    title: str
    asked: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The figures of one variation or reference.

    calls: the guidance pairs that its last stage sends through the UNet; None for what no cascade draws.
    """

    title: str
    calls: float | None
    figures: Mapping[str, float]


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Return settings by name of texts such as "upscale_strength=0.3"; raise BadSetting for what is none."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise BadSetting("set", f"a setting must look like upscale_strength=0.3, got {text[:40]!r}.")
        found[name] = read_value(name, value)
    Settings.from_dict({"prompt": "any", **found})
    return found


def variations(texts: Sequence[str]) -> tuple[Variation, ...]:
    """Return the model's own settings, then each value of texts such as "upscale_strength=0.3,0.5"."""
    titles = [
        f"{name}{equals}{value}"
        for name, equals, values in (text.partition("=") for text in texts)
        for value in values.split(",")
    ]
    return (Variation(title=OWN), *(Variation(title=title, asked=read_settings([title])) for title in titles))


def measure_variations(evaluation: Evaluation, varied: Sequence[Variation]) -> Iterator[Row]:
    """Yield the row of each variation, then those of the references; of the last stage's pictures.

    Raises BadSetting where there is no later stage than the first.
    """
    config = evaluation.config
    if not evaluation.larger:
        raise BadSetting(
            "target", f"a cascade to {config.target} px has one stage only; choose a larger target."
        )
    (mixer,) = evaluation.mixers
    for variation in varied:
        changed = evaluation.with_settings({**config.asked, **variation.asked})
        found = changed.measure_last(mixer)
        yield _row(variation.title, _last_calls(changed), found)
    for source in REFERENCES:
        yield _row(source, None, evaluation.measure_last(source))


def _row(title: str, calls: float | None, found: Mapping[str, float]) -> Row:
    return Row(title=title, calls=calls, figures={name: found[name] for name in FIGURES})


def _last_calls(evaluation: Evaluation) -> float:
    plan = evaluation.gallery.plan(evaluation.few[0], evaluation.mixers[0], evaluation.config.target)
    stage = plan.stages[-1]
    weights = stage_weights(evaluation.model.pipeline.scheduler.config, stage)
    return pair_calls(stage.steps, stage.guided_steps, [each.dilated for each in weights])
