"""What a stage costs on this machine, measured in pieces outside of a run: encoding, UNet calls, decoding."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch

from gspn_core.attention.registry import use_mixer
from gspn_core.cascade.conditioning import encode_text
from gspn_core.cascade.fused import fused_layers
from gspn_core.cascade.guidance import guided_noise_pred
from gspn_core.cascade.latents import Autoencoder
from gspn_core.cascade.model import Model
from gspn_core.events import Calibrated
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import Pace, Size, StagePlan
from gspn_core.runtime.meter import Meter
from gspn_core.settings import Mixer, Settings

Known = Mapping[tuple[Mixer, Size], Pace]

# A doubled side costs at most this many times the time: the fourth power of quadratic attention.
_WORST_GROWTH = 16.0
_GROWTH = 4.0


# An evaluation that takes so many times as long as one may is given up.
_PATIENCE = 4.0


class _LeftOff(Exception):
    """A piece of work that is given up in the middle."""


def calibrate(
    model: Model,
    should_stop: Callable[[], bool],
    *,
    limit_seconds: float,
    known: Known = MappingProxyType({}),
    fits: Callable[[StagePlan, Mixer], bool] = lambda _stage, _mixer: True,
) -> Iterator[Calibrated]:
    """Yield what each of the card's square stages costs with each mixer, the small stages first.

    Each piece is done twice and told by its second time, as its first also pays for what warms up. A stage is
    left out where a piece of it is expected to take longer than limit_seconds: four times as long as in the
    stage before, or more where that one grew by more. known: what need not be measured again; fits: whether
    a stage has the memory for its fastest way. Ends early, in the middle of a piece, when `should_stop()`.
    Where the model's parts lie on the host and come by turns nothing is measured: runs teach what that takes.
    """
    if any(part.device != model.device for part in model.parts):
        return
    card = model.card
    prompt = card.examples[0] if card.examples else "a picture"
    plan = make_plan(Settings(prompt=prompt, target=card.max_target_px, seed=0), card)
    text = encode_text(model.pipeline, plan.settings.prompt, "")
    meter = Meter(model.pipeline.unet.device)
    clock = _Clock(should_stop, limit_seconds)
    calls: dict[Mixer, list[float]] = {mixer: [] for mixer in card.mixers}
    around: list[float] = []
    try:
        with clock.seen_by(model):
            for stage in plan.stages:
                wanted = [
                    mixer
                    for mixer, seconds in calls.items()
                    if not _take_known(seconds, known.get((mixer, stage.size)))
                    and len(seconds) == stage.index
                    and _expected(seconds) <= limit_seconds
                    and fits(stage, mixer)
                ]
                told = [pace for (_, size), pace in known.items() if size == stage.size]
                if not wanted and told:
                    around.append(told[0].head_seconds + told[0].tail_seconds)
                    continue
                if not wanted or _expected(around) > limit_seconds or should_stop():
                    return
                meter.start()
                head, tail = _autoencoder_seconds(model, stage, clock)
                around.append(head + tail)
                around_peak = meter.sample().peak_bytes
                if around[-1] == math.inf:
                    return
                for mixer in wanted:
                    meter.start()
                    unet = model.pipeline.unet
                    with fused_layers(unet), use_mixer(unet, mixer, model.adapters):
                        seconds = _call_seconds(model, stage.size, text.at_size(stage.size), clock)
                    calls[mixer].append(seconds)
                    if seconds == math.inf:
                        continue
                    memory = meter.sample()
                    yield Calibrated(
                        mixer=mixer,
                        size=stage.size,
                        head_seconds=0.0 if stage.is_base else head,
                        call_seconds=seconds,
                        tail_seconds=tail,
                        peak_bytes=max(around_peak, memory.peak_bytes),
                        memory_kind=memory.kind,
                    )
    except _LeftOff:
        return
    finally:
        meter.stop()


def _take_known(seconds: list[float], pace: Pace | None) -> bool:
    """Add what is known of a mixer's next stage to its seconds; tell whether anything is."""
    if pace is not None:
        seconds.append(pace.call_seconds)
    return pace is not None


def _expected(seconds: list[float]) -> float:
    """Return how long the next stage's piece will take at worst, told from those of the stages before."""
    if len(seconds) < 2:
        return _GROWTH * sum(seconds)
    growth = seconds[-1] / max(seconds[-2], 1e-9)
    return seconds[-1] * min(max(growth, _GROWTH), _WORST_GROWTH)


class _Clock:
    """Times pieces of work; gives one up that takes too long, and all where nobody wants them any more."""

    def __init__(self, should_stop: Callable[[], bool], limit_seconds: float) -> None:
        self._should_stop, self._limit = should_stop, limit_seconds
        self._deadline = math.inf

    @contextmanager
    def seen_by(self, model: Model) -> Iterator[None]:
        """Look at the clock before each block of the UNet and the autoencoder."""
        unet, vae = model.pipeline.unet, model.pipeline.vae
        blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
        blocks += [*vae.encoder.down_blocks, *vae.decoder.up_blocks]
        hooks = [block.register_forward_pre_hook(self._look) for block in blocks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def seconds(self, work: Callable[[], Any], device: torch.device) -> float:
        """Return the seconds of the second of two times, with the device's queued work finished.

        Those of the first where it took too long for another, infinity where it took longer still.
        """
        try:
            for _ in range(2):
                _finish(device)
                began = time.perf_counter()
                self._deadline = began + _PATIENCE * self._limit
                work()
                _finish(device)
                seconds = time.perf_counter() - began
                if seconds > self._limit:
                    break
            return seconds
        except _LeftOff:
            if self._should_stop():
                raise
            return math.inf
        finally:
            self._deadline = math.inf

    def _look(self, *_: Any) -> None:
        if self._should_stop() or time.perf_counter() > self._deadline:
            raise _LeftOff


def _autoencoder_seconds(model: Model, stage: StagePlan, clock: _Clock) -> tuple[float, float]:
    """Return the seconds to encode and to decode a picture of the stage's size."""
    vae, size = model.pipeline.vae, stage.size
    autoencoder = Autoencoder(vae, stage.vae_tile_px)
    factor = autoencoder.factor
    sample = torch.zeros(1, 3, size.height, size.width, dtype=torch.float32)
    shape = (1, vae.config.latent_channels, size.height // factor, size.width // factor)
    latents = torch.zeros(shape, dtype=torch.float32, device=vae.device)
    encode = clock.seconds(lambda: list(autoencoder.encode(sample)), vae.device)
    return encode, clock.seconds(lambda: list(autoencoder.decode(latents)), vae.device)


def _call_seconds(model: Model, size: Size, conditioning: Any, clock: _Clock) -> float:
    unet, factor = model.pipeline.unet, model.pipeline.vae_scale_factor
    shape = (1, unet.config.in_channels, size.height // factor, size.width // factor)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(shape, generator=generator, dtype=torch.float32).to(unet.device)
    timestep = torch.tensor(500.0, dtype=torch.float32, device=unet.device)
    scale = model.card.guidance_scale
    return clock.seconds(lambda: guided_noise_pred(unet, latents, timestep, conditioning, scale), unet.device)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
