"""How numbers are written: bytes, durations, sizes, shares."""

from __future__ import annotations

from collections.abc import Callable

UNKNOWN = "—"


def bytes_(count: int | None) -> str:
    """Return bytes as "1.6 GB", "640 MB" or "12 kB" (decimal units), "—" for None."""
    if count is None:
        return UNKNOWN
    if count < 999.5e3:
        return f"{count / 1e3:.0f} kB"
    if count >= 999.5e6:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB"


def seconds(value: float | None) -> str:
    """Return a duration as "0.4 s", "12 s", "3 min 05 s" or "2 h 07 min", "—" for None."""
    if value is None:
        return UNKNOWN
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(height: int, width: int) -> str:
    """Return a size as width × height."""
    return f"{width} × {height}"


def call_seconds(value: float) -> str:
    """Return the duration of a short piece of work, as "4 ms", "320 ms" or "1.3 s"."""
    return f"{value * 1e3:.2g} ms" if value < 0.0995 else f"{value:.2g} s" if value < 9.95 else seconds(value)


def call_unit(largest: float) -> tuple[str, Callable[[float], str]]:
    """Return the unit in which durations up to `largest` seconds stand in a table, and how each is said."""
    if largest < 10:
        return "ms", lambda value: f"{value * 1e3:.0f}"
    return "s", lambda value: f"{value:.1f}"


def memory_unit(largest: float) -> tuple[str, Callable[[float], str]]:
    """Return the unit in which memory of up to `largest` bytes stands in a table, and how each is said."""
    digits = 2 if largest < 10e9 else 1
    return "GB", lambda value: f"{value / 1e9:.{digits}f}"


def percent(share: float | None) -> str:
    """Return a share in whole percent, "—" for none."""
    return UNKNOWN if share is None else f"{share:.0%}".replace("%", " %")


def figure(value: float) -> str:
    """Return a number in two digits, as a person would write it."""
    if 0 < value < 0.01:
        return "less than 0.01"
    return f"{float(f'{value:.2g}'):g}"


def part_of(share: float) -> str:
    """Return a share in whole percent; one that is hardly there, or hardly missing, is said to be so."""
    if 0 < share < 0.005:
        return "less than 1 %"
    return "over 99 %" if 0.995 <= share < 1 else percent(share)
