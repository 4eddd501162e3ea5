"""The walk through a plan: text once, then stage after stage, each starting from the picture before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from PIL import Image

from gspn_core.attention.registry import use_mixer
from gspn_core.cascade.conditioning import encode_text
from gspn_core.cascade.latents import Autoencoder, Preview, to_image, to_sample
from gspn_core.cascade.model import Model
from gspn_core.cascade.stage import StageSampler
from gspn_core.errors import Stopped
from gspn_core.events import CascadeDone, Event, StageDone, StageStarted, StepDone, TileDone
from gspn_core.plan import CascadePlan
from gspn_core.runtime.meter import Meter


def run_cascade(
    model: Model, plan: CascadePlan, should_stop: Callable[[], bool], preview: Preview | None
) -> Iterator[Event]:
    """Yield the events of every stage of the plan; raise Stopped within a step of `should_stop()`."""
    began = time.perf_counter()
    settings = plan.settings
    text = encode_text(model.pipeline, settings.prompt, settings.negative_prompt)
    image = None
    with use_mixer(model.pipeline.unet, settings.mixer, model.adapter):
        for stage in plan.stages:
            conditioning = text.at_size(stage.size, plan.stages[0].size, model.card)
            sampler = StageSampler(model, stage, settings, conditioning)
            image = yield from _run_stage(model, sampler, image, should_stop, preview)
    yield CascadeDone(seconds=time.perf_counter() - began)


def _run_stage(
    model: Model,
    sampler: StageSampler,
    image: Image.Image | None,
    should_stop: Callable[[], bool],
    preview: Preview | None,
) -> Iterator[Event]:
    """Yield the events of one stage and return its picture."""
    stage, meter = sampler.stage, Meter(model.pipeline.unet.device)
    autoencoder = Autoencoder(model.pipeline.vae, stage.vae_tile_px)

    def seen() -> dict:
        if should_stop():
            raise Stopped("The run was stopped; finished stages are kept.")
        return {"stage": stage.index, "seconds": meter.seconds, "memory": meter.sample()}

    def tiles(phase: str, work: Iterator) -> Iterator[Event]:
        while True:
            try:
                tile, count = next(work)
            except StopIteration as done:
                return done.value
            yield TileDone(phase=phase, tile=tile, tiles=count, **seen())

    try:
        meter.start()
        yield StageStarted(stage=stage, weights=sampler.weights, model_calls=sampler.model_calls)
        z_ref = None
        if image is not None:
            z_ref = yield from tiles("encode", autoencoder.encode(to_sample(image, stage.size)))
        steps = sampler.sample(z_ref)
        while True:
            seen()
            try:
                step = next(steps)
            except StopIteration as done:
                latents = done.value
                break
            picture = None if preview is None else preview.image(step.denoised)
            yield StepDone(step=step.number, steps=stage.steps, preview=picture, **seen())
        sample = yield from tiles("decode", autoencoder.decode(latents))
        image = to_image(sample)
        yield StageDone(stage=stage, image=image, seconds=meter.seconds, memory=meter.sample())
        return image
    finally:
        meter.stop()
