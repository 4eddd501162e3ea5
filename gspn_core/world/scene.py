"""Know which landscapes exist and what makes one of them; draw nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "time": ("dawn", "day", "dusk", "night"),
        "sky": ("clear", "cloudy"),
        "celestial": ("sun", "moon", "none"),
        "terrain": ("mountains", "hills", "dunes"),
        "cover": ("snowy", "rocky", "green", "red", "sandy"),
        "foreground": ("lake", "meadow", "pines", "desert"),
    }
)

_FOREGROUNDS = {
    "snowy": ("lake", "meadow", "pines"),
    "rocky": ("lake", "meadow", "pines", "desert"),
    "green": ("lake", "meadow", "pines"),
    "red": ("lake", "desert", "desert"),
    "sandy": ("desert", "desert", "lake"),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Name one landscape; `seed` fixes everything that the attributes leave open.

    Raises ValueError for a value outside `ATTRIBUTES` and for a combination that the world does not have.
    """

    time: str
    sky: str
    celestial: str
    terrain: str
    cover: str
    foreground: str
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in ATTRIBUTES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be between 0 and {2**31 - 1}, got {self.seed}.")
        if self.celestial not in ("none", "moon" if self.time == "night" else "sun"):
            raise ValueError(f"celestial {self.celestial!r} does not go with time {self.time!r}; try 'none'.")
        if (self.terrain == "dunes") != (self.cover == "sandy"):
            raise ValueError(
                f"cover {self.cover!r} does not go with terrain {self.terrain!r}; only dunes are sandy."
            )
        if self.foreground not in _FOREGROUNDS[self.cover]:
            choices = ", ".join(dict.fromkeys(_FOREGROUNDS[self.cover]))
            raise ValueError(
                f"foreground {self.foreground!r} does not go with cover {self.cover!r}; try {choices}."
            )

    def attributes(self) -> dict[str, str]:
        """Return attribute name → value, in the order of `ATTRIBUTES`."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in ATTRIBUTES}


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene whose attributes make sense together."""
    time = _pick(rng, ATTRIBUTES["time"], (0.22, 0.3, 0.24, 0.24))
    light = "moon" if time == "night" else "sun"
    terrain = _pick(rng, ATTRIBUTES["terrain"], (0.48, 0.32, 0.2))
    if terrain == "dunes":
        cover = "sandy"
    else:
        cover = _pick(rng, ("snowy", "rocky", "green", "red"), (0.3, 0.2, 0.3, 0.2))
    return Scene(
        time=time,
        sky=_pick(rng, ATTRIBUTES["sky"], (0.5, 0.5)),
        celestial=_pick(rng, (light, "none"), (0.7, 0.3)),
        terrain=terrain,
        cover=cover,
        foreground=_pick(rng, _FOREGROUNDS[cover]),
        seed=int(rng.integers(2**31)),
    )


def _pick(
    rng: np.random.Generator, choices: tuple[str, ...], weights: tuple[float, ...] | None = None
) -> str:
    return choices[int(rng.choice(len(choices), p=weights))]
