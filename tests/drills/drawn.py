"""Values that hypothesis draws for a drill: so many, of one seed, none kept and none made smaller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy


def drawn(values: SearchStrategy, *, count: int, of_seed: int) -> Callable[[Callable[[Any], None]], Any]:
    """Return the decorator of a function of one value: called, it is given `count` values one by one."""
    chosen = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return lambda one: seed(of_seed)(chosen(given(values)(one)))
