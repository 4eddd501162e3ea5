"""How long stages take on a machine: the record of a timing, and its interpolation to other sizes. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gspn_core.settings import Mixer

Source = Literal["run", "measurement"]
# Operations of one UNet evaluation on the guidance pair, by mixer, height and width in px.
Operations = Callable[[Mixer, int, int], float]

# Time of a UNet evaluation on half of the guidance pair over that of the whole pair.
HALF_PAIR = 0.55
# Its cost grows faster than the number of pixels, so pixels alone do not predict other sizes.
_QUADRATIC: frozenset[Mixer] = frozenset({"attention"})


@dataclass(frozen=True, kw_only=True)
class StageTiming:
    """What a stage of height × width px took.

    Args:
        encode_seconds: until the first step; None where nothing was encoded.
        step_seconds: per evaluation of the UNet on the guidance pair.
        decode_seconds: after the last step; None where it is not known.
        peak_bytes: the highest memory of the stage; None where it was not read.
        source: a run's stage, or a measurement between runs.
        count: how often it was timed.
        when: seconds since 1970.
    """

    mixer: Mixer
    height: int
    width: int
    encode_seconds: float | None
    step_seconds: float
    decode_seconds: float | None
    peak_bytes: int | None = None
    source: Source = "measurement"
    count: int = 1
    when: float = 0.0

    @property
    def pixels(self) -> int:
        """Return height · width."""
        return self.height * self.width

    @property
    def side_px(self) -> float:
        """Return the side of the square with as many pixels."""
        return math.sqrt(self.pixels)

    def seconds(self, evaluations: float, *, encodes: bool) -> float:
        """Return the seconds of a stage with that many evaluations; encodes: it starts from a picture."""
        encode = self.encode_seconds or 0.0 if encodes else 0.0
        return encode + evaluations * self.step_seconds + (self.decode_seconds or 0.0)


def preferred(timings: Iterable[StageTiming], source: Source) -> tuple[StageTiming, ...]:
    """Return one timing per mixer and size, preferring this source, small sizes first."""
    ordered = sorted(timings, key=lambda timing: timing.source == source)
    found = {(timing.mixer, timing.height, timing.width): timing for timing in ordered}
    return tuple(sorted(found.values(), key=lambda timing: (timing.pixels, timing.mixer)))


def timing_at(
    timings: Sequence[StageTiming],
    mixer: Mixer,
    height: int,
    width: int,
    *,
    operations: Operations | None = None,
) -> StageTiming | None:
    """Return the timing of a stage of height × width px, interpolated from other timings.

    Between two timed sizes, seconds are a power of the work (a straight line on logarithmic axes); beyond
    them they are proportional to the work. The work of a step is its operations, or its pixels where those
    are not known; that of the autoencoder is its pixels, whatever the mixer of the timing.

    Args:
        timings: of any mixers, sizes and sources; a run's stage is preferred to a measurement.
        operations: of one evaluation; with it a mixer that was never timed follows from the others.

    Returns:
        The timing. None without any of the mixer, and for attention beyond the timed sizes, if operations
        are not known.
    """
    known = preferred(timings, "run")
    same = [timing for timing in known if timing.mixer == mixer]
    if not same and operations is not None:
        same = list(known)
    pixels = height * width
    if not same or (operations is None and mixer in _QUADRATIC and not _spans(same, pixels)):
        return None
    work = operations or (lambda _mixer, height, width: float(height * width))
    steps = [(work(timing.mixer, timing.height, timing.width), timing.step_seconds) for timing in same]
    step_seconds = _seconds_at(steps, work(mixer, height, width))
    assert step_seconds is not None
    return StageTiming(
        mixer=mixer,
        height=height,
        width=width,
        encode_seconds=_seconds_at([(t.pixels, t.encode_seconds) for t in known], pixels),
        step_seconds=step_seconds,
        decode_seconds=_seconds_at([(t.pixels, t.decode_seconds) for t in known], pixels),
        source=same[0].source,
        count=0,
    )


def _spans(timings: Sequence[StageTiming], pixels: int) -> bool:
    return timings[0].pixels <= pixels <= timings[-1].pixels


def _seconds_at(timed: Iterable[tuple[float, float | None]], work: float) -> float | None:
    """Return the seconds of an amount of work from (work, seconds) pairs; None if none has seconds."""
    known = sorted((at, seconds) for at, seconds in timed if seconds is not None)
    if not known:
        return None
    low, low_seconds = max((pair for pair in known if pair[0] <= work), default=known[0])
    high, high_seconds = min((pair for pair in known if pair[0] >= work), default=known[-1])
    if low == high or not (low_seconds and high_seconds):
        return low_seconds * work / low
    share = math.log(work / low) / math.log(high / low)
    return low_seconds ** (1 - share) * high_seconds**share
