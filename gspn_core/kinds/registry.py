"""The kinds there are. A new one is a file next to this one and a row here."""

from __future__ import annotations

from gspn_core.kinds.esrgan import Esrgan
from gspn_core.kinds.generate import Generate
from gspn_core.kinds.keep import Keep
from gspn_core.kinds.kind import OTHER_MODELS, StageKind
from gspn_core.kinds.lanczos import Lanczos
from gspn_core.kinds.redraw import Redraw
from gspn_core.kinds.super_resolution import SuperResolution
from gspn_core.kinds.tiles import Tiles
from gspn_core.kinds.upscale import Upscale
from gspn_core.kinds.x4 import X4
from gspn_core.settings import Settings

KINDS: tuple[StageKind, ...] = (
    Generate(),
    Keep(),
    Redraw(),
    Upscale(),
    Lanczos(),
    SuperResolution(),
    Esrgan(),
    X4(),
    Tiles(),
)
# What follows a stage where the ladder names no other kind.
DEFAULT = KINDS[3]

# Settings that only some kinds read: what the page greys out and an override may not name elsewhere.
BEGINNING_ONLY = frozenset().union(*(kind.reads for kind in KINDS if kind.begins_run)) - frozenset().union(
    *(kind.reads for kind in KINDS if not kind.begins_run)
)
FOLLOWING_ONLY = (
    frozenset().union(*(kind.reads for kind in KINDS if not kind.begins_run))
    - frozenset().union(*(kind.reads for kind in KINDS if kind.begins_run))
    - OTHER_MODELS
)


def find_kind(name: str) -> StageKind:
    """Return the kind of that name; raise KeyError for a name of none."""
    return {kind.name: kind for kind in KINDS}[name]


def first_kind(settings: Settings) -> StageKind:
    """Return the kind of the first stage of a run of these settings."""
    return next(kind for kind in KINDS if kind.begins_run and kind.begins(settings))


def following_kinds() -> tuple[str, ...]:
    """Return the names that a ladder may give a stage."""
    return tuple(kind.name for kind in KINDS if not kind.begins_run)
