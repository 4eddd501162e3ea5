"""The version of the code that timings depend on: a digest of its sources."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_TIMED = ("ops", "attention", "cascade")


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return a digest of the sources of everything that computes a picture."""
    seal = hashlib.sha256()
    for part in _TIMED:
        for path in sorted((_ROOT / part).rglob("*.py")):
            seal.update(path.name.encode() + b"\0" + path.read_bytes())
    return seal.hexdigest()[:16]
