"""The effect of a cascade's settings on its pictures: one is changed at a time, others stay at default.

Since the world can be rendered at every size, true detail can be distinguished from invented detail.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.evaluation.figures import DECODED, TRUTH, Row
from gspn_core.evaluation.measure import Evaluation
from gspn_core.settings import STARTING, Override, Settings, read_value

OWN = "the model's own settings"
# References: no added detail, the truth through the autoencoder, and the truth.
REFERENCES = ("bicubic", DECODED, TRUTH)
_FIXED = frozenset(("prompt", "mixer", "target", "aspect", "seed", "overrides", *STARTING))


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Settings of the later stages in place of the model's defaults, and their title in the table."""

    title: str
    asked: Mapping[str, Any] = field(default_factory=dict)


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Parse texts such as "upscale_strength=0.3" into settings by name; raise BadSetting otherwise."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise BadSetting("set", f"a setting must look like upscale_strength=0.3, got {text[:40]!r}.")
        if name in _FIXED:
            raise BadSetting("set", f"{name} is set by the measurement itself; name another setting.")
        if name in found:
            raise BadSetting("set", f"{name} is given twice; keep one.")
        found[name] = read_value(name, value)
    Settings.from_dict({"prompt": "any", **found})
    return found


def variations(texts: Sequence[str]) -> tuple[Variation, ...]:
    """Return the model's defaults, then each value of texts such as "upscale_strength=0.3,0.5"."""
    titles = [
        f"{name}{equals}{value}"
        for name, equals, values in (text.partition("=") for text in texts)
        for value in values.split(",")
    ]
    return (Variation(title=OWN), *(Variation(title=title, asked=read_settings([title])) for title in titles))


def measure_variations(evaluation: Evaluation, varied: Sequence[Variation]) -> Iterator[Row]:
    """Yield a row for each variation, then those of the references.

    All start from the same base pictures: a variation changes only the later stages. Raises BadSetting
    before anything is drawn if there is no later stage, or one cannot be planned.
    """
    if not evaluation.larger:
        px = evaluation.config.target
        raise BadSetting("target", f"a cascade to {px} px has one stage only; choose a larger target.")
    (mixer,) = evaluation.mixers
    changed = [_changed(evaluation, variation) for variation in varied]
    pairs = [each.last_pairs(mixer) for each in changed]
    evaluation.gallery.draw_bases(evaluation.few(evaluation.larger[-1]), mixer)
    for variation, each, count in zip(varied, changed, pairs, strict=True):
        yield Row(title=variation.title, pairs=count, figures=each.measure_last(mixer))
    for source in REFERENCES:
        yield Row(title=source, pairs=None, figures=evaluation.measure_last(source))


def _changed(evaluation: Evaluation, variation: Variation) -> Evaluation:
    overrides = tuple(
        Override(stage_px=px, name=name, value=value)
        for px in evaluation.larger
        for name, value in variation.asked.items()
    )
    return evaluation.with_settings({**evaluation.config.asked, "overrides": overrides})
