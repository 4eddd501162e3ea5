"""A batch: several pictures of one prompt, of which one goes on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ui.shared.strings import units

SCREEN: Mapping[str, str] = MappingProxyType(
    {
        "batch": "Pictures",
        "batch_hint": "Choose a picture, then upscale it.",
    }
)

PICTURES = "Pictures"

PICTURES_HELP = (
    "How many pictures Run draws, at the base size, of the seed and those after it. "
    "With more than one, you choose the one to upscale."
)

NOT_A_COUNT = "pictures must be a whole number."

# What stands in the place of a picture that is not there.
STATES: Mapping[str, str] = MappingProxyType(
    {
        "queued": "waiting",
        "running": "drawing",
        "stopped": "stopped",
        "failed": "failed",
        "interrupted": "interrupted",
    }
)


def picture(number: int, count: int, noise: tuple[int | None, int | None], state: str) -> str:
    """Return what a picture of a batch is called. noise: its seed, and its variation seed or None."""
    seed, variation = noise
    varied = "" if variation is None else f", variation seed {variation}"
    said = STATES.get(state)
    return f"Picture {number} of {count}, seed {seed}{varied}" + (f", {said}" if said else "")


def drawing(number: int, count: int) -> str:
    """Return the headline while a picture of a batch is drawn."""
    return f"Picture {number} of {count}"


def takes(count: int, duration: float | None, peak_bytes: int | None) -> str:
    """Return what a batch of the form would take, which is less where its pictures are drawn at once."""
    known = [] if duration is None else [units.seconds(duration)]
    known += [] if peak_bytes is None else [units.bytes_(peak_bytes)]
    return f"{count} pictures: up to {', '.join(known)}." if known else ""


def cached(count: int, of: int) -> str:
    """Return how many pictures of a batch need not be drawn; "" for none."""
    if not count:
        return ""
    return "All are cached." if count == of else f"{count} of them {'is' if count == 1 else 'are'} cached."
