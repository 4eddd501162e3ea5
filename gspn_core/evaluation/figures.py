"""Figures of sets of pictures, and the bars that they must reach.

A figure's key is its name, the source of its pictures and their side in px: ("frechet", "gspn", 1024).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
from PIL import Image

from gspn_core.evaluation.frechet import Gaussian, extrapolated_distance, frechet_distance
from gspn_core.evaluation.prompts import Prompt, adherence
from gspn_core.metrics.classifier import Seen
from gspn_core.metrics.structure import (
    colour_drift,
    consistency,
    detail,
    repetition,
    seams,
    spectrum_slope,
)
from gspn_core.tiling import tile_starts

TRUTH = "renders"
# The renders, encoded and decoded by the model's autoencoder.
DECODED = "renders decoded"
STRUCTURE = ("consistency", "detail", "slope", "drift", "repetition", "seams")
Figures = dict[tuple[str, str, int], float]


def structure(picture: Image.Image, base: Image.Image, tile_px: int | None) -> dict[str, float]:
    """Return the figures of one picture against the base that it was made from.

    tile_px: the side of the tiles that it was decoded in. Seams are measured at their edges and at multiples
    of the base's size, where a model beyond its trained size would have them.
    """
    height, width = picture.height, picture.width
    rows, columns = (
        sorted({*range(side, length, side), *(tile_starts(length, tile_px)[1:] if tile_px else ())})
        for side, length in ((base.height, height), (base.width, width))
    )
    return {
        "consistency": consistency(picture, base),
        "detail": detail(picture, base.width),
        "slope": spectrum_slope(picture),
        "drift": colour_drift(picture, base),
        "repetition": repetition(picture, width // base.width),
        "seams": seams(picture, rows, columns),
    }


def mean_structure(found: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over pictures; an infinite PSNR counts as 100 dB."""
    rows = [*found]
    return {name: fmean(min(row[name], 100.0) for row in rows) for name in STRUCTURE}


def add_adherence(figures: Figures, source: str, px: int, prompts: Sequence[Prompt], seen: Seen) -> None:
    """Add how often a source's pictures show what their prompts name, per attribute and on average."""
    shares, mean = adherence(prompts, seen.values)
    figures["adherence", source, px] = mean
    for name, share in shares.items():
        figures[f"adherence {name}", source, px] = share


def add_frechet(
    figures: Figures, source: str, px: int, seen: Seen, references: np.ndarray, *, group: int = 1
) -> None:
    """Add the Fréchet distance of a source's pictures from reference renders, plain and extrapolated.

    references: their features (M, F); group: how many consecutive crops come from one picture.
    """
    fitted = Gaussian.fit(seen.features), Gaussian.fit(references)
    figures["frechet as it is", source, px] = frechet_distance(*fitted)
    figures["frechet", source, px] = extrapolated_distance(seen.features, references, group=group)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The figures, by name, of the largest pictures with one setting, or of a reference.

    pairs: the guidance pairs that the last stage runs through the UNet; None for references.
    """

    title: str
    pairs: float | None
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bound on a figure: at least or at most `limit`; value is None if it was not measured."""

    name: str
    value: float | None
    sense: Literal["at least", "at most"]
    limit: float
    unit: str = ""

    @property
    def holds(self) -> bool | None:
        """Return whether the figure is within its bound, None if it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.sense == "at least" else self.value <= self.limit


def bars(figures: Figures, *, base_px: int, large_px: int) -> tuple[Bar, ...]:
    """Return the bars of the embedded model.

    base_px: its base size; large_px: the size of the cascade that is measured, usually four times the base.
    """

    def at_base(name: str, source: str) -> float | None:
        return figures.get((name, source, base_px))

    def at_large(name: str, source: str) -> float | None:
        return figures.get((name, source, large_px))

    adherence_lost = _combined(
        lambda ours, theirs: theirs - ours, at_base("adherence", "gspn"), at_base("adherence", "attention")
    )
    cascade = f"{large_px} px: GSPN cascade's"
    return (
        _least("autoencoder, reconstruction of renders", at_base("psnr", "vae"), 29, " dB"),
        _least("adherence, attention", _percent(at_base("adherence", "attention")), 93, " %"),
        _most("adherence lost by GSPN", _percent(adherence_lost), 2, " points"),
        _most(
            "Fréchet distance, GSPN over attention",
            _ratio(at_base("frechet", "gspn"), at_base("frechet", "attention")),
            1.10,
        ),
        _most(
            f"{cascade} Fréchet distance over bicubic's",
            _ratio(at_large("frechet", "gspn"), at_large("frechet", "bicubic")),
            0.7,
        ),
        _least(f"{cascade} consistency with its base", at_large("consistency", "gspn"), 24, " dB"),
        *(
            _most(
                f"{cascade} {name} over the renders'",
                _ratio(at_large(name, "gspn"), at_large(name, TRUTH)),
                1.10,
            )
            for name in ("repetition", "seams")
        ),
        _most("files of the model", at_base("megabytes", "model"), 80, " MB"),
    )


def _least(name: str, value: float | None, limit: float, unit: str = "") -> Bar:
    return Bar(name=name, value=value, sense="at least", limit=limit, unit=unit)


def _most(name: str, value: float | None, limit: float, unit: str = "") -> Bar:
    return Bar(name=name, value=value, sense="at most", limit=limit, unit=unit)


def _combined(
    function: Callable[[float, float], float], one: float | None, other: float | None
) -> float | None:
    return None if one is None or other is None else function(one, other)


def _ratio(one: float | None, other: float | None) -> float | None:
    return _combined(lambda a, b: a / b, one, other or None)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
