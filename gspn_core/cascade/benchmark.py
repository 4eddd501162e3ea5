"""What a stage costs on this machine, measured in pieces outside of a run: encoding, UNet calls, decoding.

The pieces of one size are timed alternately (A B C A B C …), so that whatever the machine does meets all of
them; each figure is the least of several, as other work makes a piece slower and never faster; and a round in
which other programs took the processor is discarded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from gspn_core.attention.registry import use_mixer
from gspn_core.backbones.codec import Autoencoder
from gspn_core.backbones.conditioning import encode_text
from gspn_core.backbones.model import Model
from gspn_core.backbones.sdxl import guided_noise_pred
from gspn_core.cascade.fused import fused_autoencoder, fused_layers
from gspn_core.events import StageNotTimed, StageTimed
from gspn_core.planning.plan import make_plan
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import ModelCard, StagePlan
from gspn_core.runtime.meter import Meter
from gspn_core.runtime.other_work import OtherWork
from gspn_core.settings import Mixer, Settings

# A doubled side costs at most this many times the time: the fourth power of quadratic attention.
_WORST_GROWTH, _GROWTH = 16.0, 4.0
# A piece that takes so many times as long as one may is given up.
_PATIENCE = 4.0
# Undisturbed rounds that a figure is the least of, and disturbed ones in a row that end the attempt.
QUIET_ROUNDS, _BUSY_ROUNDS = 3, 3
# In each round a short piece is done over and over for so long.
_TURN_SECONDS = 0.1


class _GivenUp(Exception):
    """A piece of work that is given up in the middle."""


@dataclass(frozen=True)
class Piece:
    """Work to be timed. around: entered before the clock starts and left after it stops."""

    work: Callable[[], Any]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True)
class Figures:
    """A piece's least seconds, infinite where it took too long, and its peak memory."""

    seconds: float
    peak_bytes: int = 0


def measure_stages(
    model: Model,
    should_stop: Callable[[], bool],
    *,
    limit_seconds: float,
    known: Sequence[StageTiming] = (),
    fits: Callable[[StagePlan, Mixer], bool] = lambda _stage, _mixer: True,
) -> Iterator[StageTimed | StageNotTimed]:
    """Yield what a square stage of each target costs with each mixer, the small ones first.

    Ends early, in the middle of a piece, when `should_stop()`, and after a size at which the machine was
    busy. Where the model's parts are on the host and take turns on the device nothing is measured: runs show
    what that takes.

    Args:
        model: a loaded model.
        should_stop: asked before each block of the UNet and the autoencoder.
        limit_seconds: a stage is left out where a piece of it is expected to take longer: four times as long
            as in the stage before, or more where that one grew by more.
        known: what need not be measured again.
        fits: whether a stage has the memory for its fastest options.
    """
    if any(part.device != model.device for part in model.parts):
        return
    prompt = next(iter(model.card.examples), "a picture")
    text = encode_text(model.pipeline, prompt, "")
    there = {(t.mixer, t.height, t.width): t for t in known if t.decode_seconds is not None}
    steps: dict[Mixer, list[float]] = {mixer: [] for mixer in model.card.mixers}
    around: list[float] = []
    with suppress(_GivenUp), Stopwatch(model, should_stop, limit_seconds) as stopwatch:
        for index, stage in enumerate(_last_stages(model.card, prompt)):
            size = stage.size
            found = {m: t for m in steps if (t := there.get((m, size.height, size.width)))}
            for mixer, timing in found.items():
                steps[mixer].append(timing.step_seconds)
            wanted = [
                mixer
                for mixer, seconds in steps.items()
                if len(seconds) == index and _expected(seconds) <= limit_seconds and fits(stage, mixer)
            ]
            if not wanted and found:
                around.append(max(timing.seconds(0, encodes=True) for timing in found.values()))
                continue
            if not wanted or _expected(around) > limit_seconds or should_stop():
                return
            figures = stopwatch.times(stage_pieces(model, stage, text.at_size(size), wanted))
            if figures is None:
                yield StageNotTimed(size=size)
                return
            around.append(figures["encode"].seconds + figures["decode"].seconds)
            if around[-1] == math.inf:
                return
            for mixer in wanted:
                steps[mixer].append(figures[mixer].seconds)
                if steps[mixer][-1] < math.inf:
                    yield StageTimed(timing=_timing(stage, mixer, figures))


def _last_stages(card: ModelCard, prompt: str) -> list[StagePlan]:
    """Return the last stage of each target, whatever sizes a cascade to the largest one leaves out."""
    settings = Settings(prompt=prompt, seed=0)
    return [make_plan(replace(settings, target=px), card).stages[-1] for px in card.targets]


def _timing(stage: StagePlan, mixer: Mixer, figures: Mapping[str, Figures]) -> StageTiming:
    encode, step, decode = (figures[name] for name in ("encode", mixer, "decode"))
    return StageTiming(
        mixer=mixer,
        height=stage.size.height,
        width=stage.size.width,
        encode_seconds=encode.seconds,
        step_seconds=step.seconds,
        decode_seconds=decode.seconds,
        peak_bytes=max(part.peak_bytes for part in (encode, step, decode)),
        when=time.time(),
    )


def _expected(seconds: list[float]) -> float:
    """Return how long the next stage's piece will take at worst, from those of the stages before."""
    if len(seconds) < 2:
        return _GROWTH * sum(seconds)
    growth = seconds[-1] / max(seconds[-2], 1e-9)
    return seconds[-1] * min(max(growth, _GROWTH), _WORST_GROWTH)


class Stopwatch:
    """Times pieces of a model's work; gives up what takes too long, and everything once it should stop.

    Within its `with` block each block of the UNet and the autoencoder looks at the clock first.
    """

    def __init__(self, model: Model, should_stop: Callable[[], bool], limit_seconds: float) -> None:
        self._model, self._should_stop, self._limit = model, should_stop, limit_seconds
        self._device = model.pipeline.unet.device
        self._deadline = math.inf
        self._meter = Meter(self._device)
        self._hooks = ExitStack()

    def __enter__(self) -> Stopwatch:
        unet, vae = self._model.pipeline.unet, self._model.pipeline.vae
        blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
        blocks += [*vae.encoder.down_blocks, *vae.decoder.up_blocks]
        for block in blocks:
            self._hooks.callback(block.register_forward_pre_hook(self._look).remove)
        self._hooks.callback(self._meter.stop)
        return self

    def __exit__(self, *_error: object) -> None:
        self._hooks.close()

    def times(self, pieces: Mapping[str, Piece]) -> dict[str, Figures] | None:
        """Return the least seconds of each piece over several rounds; None where the machine was busy.

        A round before those pays for whatever warms up, and reads the memory. A piece that takes longer than
        the limit is timed once.
        """
        first = {name: self._warmed_up(piece) for name, piece in pieces.items()}
        least = {name: math.inf for name, one in first.items() if one.seconds < math.inf}
        other_work = OtherWork(1 if self._device.type == "cuda" else torch.get_num_threads())
        quiet = busy = 0
        while quiet < QUIET_ROUNDS:
            other_work.start()
            seconds = {
                name: self._turn(pieces[name])
                for name, before in least.items()
                if before == math.inf or before <= self._limit
            }
            if other_work.is_in_the_way:
                busy += 1
                if busy == _BUSY_ROUNDS:
                    return None
                continue
            quiet, busy = quiet + 1, 0
            least |= {name: min(least[name], again) for name, again in seconds.items()}
        return {name: Figures(least.get(name, math.inf), one.peak_bytes) for name, one in first.items()}

    def _warmed_up(self, piece: Piece) -> Figures:
        self._meter.start()
        with piece.around():
            seconds = self._seconds(piece.work)
        return Figures(seconds, self._meter.sample().peak_bytes)

    def _turn(self, piece: Piece) -> float:
        with piece.around():
            least, ends = math.inf, time.perf_counter() + _TURN_SECONDS
            while least == math.inf or time.perf_counter() < ends:
                least = min(least, self._seconds(piece.work))
                if least == math.inf:
                    break
            return least

    def _seconds(self, work: Callable[[], Any]) -> float:
        """Return the seconds of a piece with the device's queued work finished, infinity if given up."""
        try:
            self._finish()
            began = time.perf_counter()
            self._deadline = began + _PATIENCE * self._limit
            work()
            self._finish()
            return time.perf_counter() - began
        except _GivenUp:
            if self._should_stop():
                raise
            return math.inf
        finally:
            self._deadline = math.inf

    def _look(self, *_: Any) -> None:
        if self._should_stop() or time.perf_counter() > self._deadline:
            raise _GivenUp

    def _finish(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def stage_pieces(
    model: Model, stage: StagePlan, conditioning: Any, mixers: Sequence[Mixer]
) -> dict[str, Piece]:
    """Return the pieces of a stage: "encode", "decode", and one evaluation of the UNet for each mixer."""
    vae, unet, size = model.pipeline.vae, model.pipeline.unet, stage.size
    autoencoder = Autoencoder(vae, stage.vae_tile_px)
    height, width = size.height // autoencoder.factor, size.width // autoencoder.factor
    sample = torch.zeros(1, 3, size.height, size.width, dtype=torch.float32)
    maps = torch.zeros(1, vae.config.latent_channels, height, width, dtype=torch.float32, device=vae.device)
    generator = torch.Generator().manual_seed(0)
    shape = (1, unet.config.in_channels, height, width)
    latents = torch.randn(shape, generator=generator, dtype=torch.float32).to(unet.device)
    timestep = torch.tensor(500.0, dtype=torch.float32, device=unet.device)
    scale = model.card.guidance_scale

    @contextmanager
    def mixing(mixer: Mixer) -> Iterator[None]:
        with fused_layers(unet), use_mixer(unet, mixer, model.adapters):
            yield

    def step() -> None:
        guided_noise_pred(unet, latents, timestep, conditioning, scale)

    return {
        "encode": Piece(lambda: list(autoencoder.encode(sample)), lambda: fused_autoencoder(vae, unet)),
        **{mixer: Piece(step, lambda mixer=mixer: mixing(mixer)) for mixer in mixers},
        "decode": Piece(lambda: list(autoencoder.decode(maps)), lambda: fused_autoencoder(vae, unet)),
    }
