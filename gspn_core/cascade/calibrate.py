"""What a stage costs on this machine, measured in pieces outside of a run: encoding, UNet calls, decoding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from gspn_core.attention.registry import use_mixer
from gspn_core.cascade.conditioning import encode_text
from gspn_core.cascade.fused import fused_layers
from gspn_core.cascade.guidance import guided_noise_pred
from gspn_core.cascade.latents import Autoencoder
from gspn_core.cascade.model import Model
from gspn_core.events import Calibrated
from gspn_core.plan import Size, StagePlan, make_plan
from gspn_core.runtime.meter import Meter
from gspn_core.settings import Settings

# A doubled side costs at most this many times the time: the fourth power of quadratic attention.
_WORST_GROWTH = 16.0
_GROWTH = 4.0


def calibrate(model: Model, should_stop: Callable[[], bool], *, limit_seconds: float) -> Iterator[Calibrated]:
    """Yield what each of the card's square stages costs with each mixer, the small stages first.

    Each piece is done twice and told by its second time, as its first also pays for what warms up. A stage is
    left out where a piece of it is expected to take longer than limit_seconds: four times as long as in the
    stage before, or more where that one grew by more. Ends early when `should_stop()`.
    """
    card = model.card
    prompt = card.examples[0] if card.examples else "a picture"
    plan = make_plan(Settings(prompt=prompt, target=card.max_target_px, seed=0), card)
    text = encode_text(model.pipeline, plan.settings.prompt, "")
    meter = Meter(model.pipeline.unet.device)
    calls: dict[str, list[float]] = {mixer: [] for mixer in card.mixers}
    around: list[float] = []
    try:
        for stage in plan.stages:
            if _expected(around) > limit_seconds or should_stop():
                return
            meter.start()
            head, tail = _autoencoder_seconds(model, stage)
            around.append(head + tail)
            around_peak = meter.sample().peak_bytes
            for mixer, seconds in calls.items():
                if len(seconds) < stage.index or _expected(seconds) > limit_seconds:
                    continue
                if should_stop():
                    return
                meter.start()
                unet = model.pipeline.unet
                with fused_layers(unet), use_mixer(unet, mixer, model.adapters):
                    seconds.append(_call_seconds(model, stage.size, text.at_size(stage.size)))
                memory = meter.sample()
                yield Calibrated(
                    mixer=mixer,
                    size=stage.size,
                    head_seconds=0.0 if stage.is_base else head,
                    call_seconds=seconds[-1],
                    tail_seconds=tail,
                    peak_bytes=max(around_peak, memory.peak_bytes),
                    memory_kind=memory.kind,
                )
    finally:
        meter.stop()


def _expected(seconds: list[float]) -> float:
    """Return how long the next stage's piece will take at worst, told from those of the stages before."""
    if len(seconds) < 2:
        return _GROWTH * sum(seconds)
    growth = seconds[-1] / max(seconds[-2], 1e-9)
    return seconds[-1] * min(max(growth, _GROWTH), _WORST_GROWTH)


def _autoencoder_seconds(model: Model, stage: StagePlan) -> tuple[float, float]:
    """Return the seconds to encode and to decode a picture of the stage's size."""
    vae, size = model.pipeline.vae, stage.size
    autoencoder = Autoencoder(vae, stage.vae_tile_px)
    factor = autoencoder.factor
    sample = torch.zeros(1, 3, size.height, size.width)
    latents = torch.zeros(
        1, vae.config.latent_channels, size.height // factor, size.width // factor, device=vae.device
    )
    encode = _seconds(lambda: list(autoencoder.encode(sample)), vae.device)
    return encode, _seconds(lambda: list(autoencoder.decode(latents)), vae.device)


def _call_seconds(model: Model, size: Size, conditioning: Any) -> float:
    unet, factor = model.pipeline.unet, model.pipeline.vae_scale_factor
    shape = (1, unet.config.in_channels, size.height // factor, size.width // factor)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(unet.device)
    timestep = torch.tensor(500.0, device=unet.device)
    scale = model.card.guidance_scale
    return _seconds(lambda: guided_noise_pred(unet, latents, timestep, conditioning, scale), unet.device)


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds of the second of two times, with the device's queued work finished."""
    for _ in range(2):
        _finish(device)
        began = time.perf_counter()
        work()
        _finish(device)
        seconds = time.perf_counter() - began
    return seconds


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
