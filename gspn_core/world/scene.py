"""Scenes: the attributes of landscapes and their valid combinations."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "time": ("dawn", "day", "dusk", "night"),
        "sky": ("clear", "cloudy", "stormy", "aurora"),
        "celestial": ("sun", "moon", "crescent", "none"),
        "terrain": ("mountains", "hills", "dunes", "islands", "cliffs"),
        "cover": ("snowy", "rocky", "green", "red", "autumn", "sandy"),
        "foreground": ("lake", "river", "meadow", "pines", "desert", "beach"),
        "weather": ("none", "fog", "rain", "snow"),
        "object": ("none", "cabin", "sailboat", "balloon", "lighthouse", "birds"),
        "palette": ("natural", "golden", "cool", "pastel", "vivid"),
    }
)
WATERS = ("lake", "beach")

_BARE = ("rocky", "green", "red", "autumn", "snowy")
_DRY = ("none", "fog")
_OPEN_SKIES = ("clear", "cloudy")
# What a value requires of other attributes; values that are not listed go with everything.
_ASKS: Mapping[tuple[str, str], Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        ("celestial", "sun"): {"time": ("dawn", "day", "dusk")},
        ("celestial", "moon"): {"time": ("night",)},
        ("celestial", "crescent"): {"time": ("night",)},
        ("sky", "stormy"): {"celestial": ("none",)},
        ("sky", "aurora"): {"time": ("night",), "weather": ("none",)},
        ("terrain", "mountains"): {"cover": _BARE},
        ("terrain", "hills"): {"cover": _BARE},
        ("terrain", "cliffs"): {"cover": _BARE},
        ("terrain", "islands"): {"cover": _BARE, "foreground": WATERS},
        ("terrain", "dunes"): {"cover": ("sandy",)},
        ("cover", "snowy"): {"foreground": ("lake", "river", "meadow", "pines")},
        ("cover", "rocky"): {"foreground": ("lake", "river", "meadow", "pines", "desert", "beach")},
        ("cover", "green"): {"foreground": ("lake", "river", "meadow", "pines", "beach")},
        ("cover", "red"): {"foreground": ("lake", "river", "desert", "beach")},
        ("cover", "autumn"): {"foreground": ("lake", "river", "meadow", "pines")},
        ("cover", "sandy"): {"foreground": ("desert", "lake", "beach"), "weather": _DRY},
        ("foreground", "desert"): {"weather": _DRY},
        ("foreground", "beach"): {"weather": ("none", "fog", "rain")},
        ("weather", "rain"): {"sky": ("cloudy", "stormy"), "celestial": ("none",)},
        ("weather", "snow"): {"sky": ("cloudy", "stormy"), "celestial": ("none",)},
        ("object", "cabin"): {"foreground": ("lake", "river", "meadow", "pines")},
        ("object", "sailboat"): {"foreground": WATERS},
        ("object", "lighthouse"): {"foreground": WATERS},
        ("object", "balloon"): {"sky": _OPEN_SKIES, "weather": _DRY},
        ("object", "birds"): {"time": ("dawn", "day", "dusk"), "sky": _OPEN_SKIES, "weather": _DRY},
    }
)
# The order in which attributes are sampled, each from the values that fit those before it.
_WEIGHTS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "time": {"dawn": 0.23, "day": 0.3, "dusk": 0.24, "night": 0.23},
        "terrain": {"mountains": 0.3, "hills": 0.22, "dunes": 0.14, "islands": 0.16, "cliffs": 0.18},
        "cover": {"snowy": 0.24, "rocky": 0.18, "green": 0.22, "red": 0.16, "autumn": 0.2, "sandy": 1.0},
        "foreground": {
            "lake": 0.2,
            "river": 0.17,
            "meadow": 0.17,
            "pines": 0.17,
            "desert": 0.2,
            "beach": 0.2,
        },
        "weather": {"none": 0.62, "fog": 0.13, "rain": 0.12, "snow": 0.13},
        "sky": {"clear": 0.36, "cloudy": 0.32, "stormy": 0.13, "aurora": 0.8},
        "celestial": {"sun": 0.7, "moon": 0.4, "crescent": 0.35, "none": 0.28},
        "object": {
            "none": 0.34,
            "cabin": 0.2,
            "sailboat": 0.17,
            "balloon": 0.16,
            "lighthouse": 0.17,
            "birds": 0.18,
        },
        "palette": {"natural": 0.56, "golden": 0.11, "cool": 0.11, "pastel": 0.11, "vivid": 0.11},
    }
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A landscape; `seed` determines everything that the attributes leave open.

    Raises ValueError for a value outside `ATTRIBUTES` and for a combination that the world does not have.
    """

    time: str
    sky: str
    celestial: str
    terrain: str
    cover: str
    foreground: str
    weather: str = "none"
    object: str = "none"
    palette: str = "natural"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in ATTRIBUTES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be between 0 and {2**31 - 1}, got {self.seed}.")
        values = self.attributes()
        for name, value in values.items():
            for other, allowed in _ASKS.get((name, value), {}).items():
                if values[other] not in allowed:
                    raise ValueError(
                        f"{name} {value!r} does not go with {other} {values[other]!r}; "
                        f"try {other} {' or '.join(allowed)}."
                    )

    def attributes(self) -> dict[str, str]:
        """Return attribute name → value, in the order of `ATTRIBUTES`."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in ATTRIBUTES}


def sample_scene(rng: np.random.Generator) -> Scene:
    """Sample a scene with a valid combination of attributes."""
    values: dict[str, str] = {}
    for name, weights in _WEIGHTS.items():
        fitting = [value for value in weights if _fits(values, name, value)]
        shares = np.array([weights[value] for value in fitting])
        values[name] = fitting[int(rng.choice(len(fitting), p=shares / shares.sum()))]
    return Scene(**values, seed=int(rng.integers(2**31)))


def _fits(values: Mapping[str, str], name: str, value: str) -> bool:
    """Return whether `name` can be `value`, given the attributes in `values`."""
    asked = _ASKS.get((name, value), {})
    if any(values[other] not in allowed for other, allowed in asked.items() if other in values):
        return False
    return all(value in _ASKS.get(drawn, {}).get(name, (value,)) for drawn in values.items())
