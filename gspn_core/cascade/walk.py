"""The walk through a plan: text once, then stage after stage, each starting from the picture before.

A run that starts from a picture of the visitor's keeps it as its first stage, or draws it again there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from PIL import Image

from gspn_core.attention.registry import use_mixer
from gspn_core.cascade.conditioning import Conditioning, encode_text
from gspn_core.cascade.filters import restore_base
from gspn_core.cascade.latents import Autoencoder, Preview, to_image, to_sample
from gspn_core.cascade.model import Model
from gspn_core.cascade.offload import coding_as, reading_text, sampling_as, stored_as
from gspn_core.cascade.oom import MemoryRanOut, is_out_of_memory, step_down
from gspn_core.cascade.sample import StageSampler, Step
from gspn_core.errors import NotFinite, Stopped
from gspn_core.events import CascadeDone, Event, PlanReady, StageDone, StageStarted, StepDone, TileDone
from gspn_core.images.load import cropped
from gspn_core.planning.types import CascadePlan, Machine, Phase, Size, StagePlan
from gspn_core.runtime.machine import collect, give_back
from gspn_core.runtime.meter import Meter
from gspn_core.settings import Settings


def run_cascade(
    model: Model,
    plan: CascadePlan,
    should_stop: Callable[[], bool],
    preview: Preview | None,
    finished: Sequence[Image.Image] = (),
    start: Image.Image | None = None,
    machine: Machine | None = None,
) -> Iterator[Event]:
    """Yield PlanReady and the events of every stage; raise Stopped within a step of `should_stop()`.

    finished: pictures of the first stages, made before with equal keys; those stages are not run again.
    start: the picture that the plan's settings start from, None where they start from noise.
    machine: where this runs, as far as it is known. Where memory runs out in a stage, it begins again in a
    way that needs less, and a Retried says so; OutOfMemory where there is no such way left.
    """
    began = time.perf_counter()
    samplers = _samplers(model, plan)
    yield PlanReady(plan=plan, model_calls=tuple(sampler.model_calls for sampler in samplers))
    if start is not None:
        start = cropped(start, plan.size.height, plan.size.width)
    image, index = (finished[-1] if finished else start), len(finished)
    while index < len(samplers):
        _leave_if(should_stop())
        sampler = samplers[index]
        if sampler.stage.is_kept:
            image, index = (yield from _keep(model, sampler.stage, start)), index + 1
            continue
        if index and plan.stages[index - 1].is_kept:
            # What the picture shows beyond its stage's size is worth more than that stage's own picture.
            image = start
        if sampler.stage != plan.stages[index]:
            sampler = StageSampler(model, plan.stages[index], sampler.conditioning, sampler.refined)
        try:
            with (
                use_mixer(model.pipeline.unet, sampler.settings.mixer, model.adapters),
                stored_as(model, sampler.stage.choices),
            ):
                before = plan.stages[index - 1].size if index else None
                image = yield from _run_stage(model, sampler, image, before, should_stop, preview)
            index += 1
            continue
        except MemoryRanOut as ran_out:
            phase = ran_out.phase
        # Outside of the handler, where nothing holds the stage's tensors any more.
        del sampler
        retried = step_down(plan, model.card, index, phase, machine)
        collect(model.device)
        plan = retried.plan
        yield retried
    yield CascadeDone(seconds=time.perf_counter() - began)


def _samplers(model: Model, plan: CascadePlan) -> list[StageSampler]:
    """Return the stages ready to run, each text encoded once."""
    texts: dict[tuple[str, str, bool], Conditioning] = {}

    def encoded(own: Settings, may_be_nought: bool) -> Conditioning:
        said = own.prompt, own.negative_prompt, may_be_nought
        if said not in texts:
            with reading_text(model):
                texts[said] = encode_text(
                    model.pipeline, *said[:2], may_be_nought=may_be_nought, device=model.device
                )
        return texts[said]

    samplers = []
    for stage in plan.stages:
        own, refined = stage.settings, None
        if stage.index == 0 and own.refiner != "none" and not stage.is_kept:
            # The refiner was trained with the empty text encoded, never with noughts in its place.
            channels = model.refiner.config.cross_attention_dim
            refined = encoded(own, False).for_refiner(stage.size, own, channels)
        text = encoded(own, True).at_size(stage.size, own)
        samplers.append(StageSampler(model, stage, text, refined))
    return samplers


def _keep(model: Model, stage: StagePlan, start: Image.Image) -> Iterator[Event]:
    """Yield the events of a stage that is the starting picture, and return the picture at its size."""
    meter = Meter(model.pipeline.unet.device)
    try:
        meter.start()
        yield StageStarted(stage=stage, weights=())
        image = start.resize((stage.size.width, stage.size.height), Image.Resampling.LANCZOS)
        yield StageDone(stage=stage, image=image, seconds=meter.seconds, memory=meter.sample())
        return image
    finally:
        meter.stop()


def _run_stage(
    model: Model,
    sampler: StageSampler,
    image: Image.Image | None,
    before: Size | None,
    should_stop: Callable[[], bool],
    preview: Preview | None,
) -> Iterator[Event]:
    """Yield the events of one stage and return its image; raise MemoryRanOut where memory did.

    image: what it starts from, if anything. before: the size of the stage before it, None for the first.
    """
    stage, meter = sampler.stage, Meter(model.device)
    autoencoder = Autoencoder(model.pipeline.vae, stage.vae_tile_px)

    def figures() -> dict:
        return {"stage": stage.index, "seconds": meter.seconds, "memory": meter.sample()}

    def each(work: Iterator, event: Callable[..., Event]) -> Iterator[Event]:
        """Yield an event for each piece of work and return the work's result; a stop is seen before each."""
        while True:
            _leave_if(should_stop())
            try:
                piece = next(work)
            except StopIteration as done:
                return done.value
            yield event(piece)

    def step_done(step: Step) -> StepDone:
        picture = None if preview is None else preview.image(step.denoised)
        return StepDone(step=step.number, steps=stage.steps, preview=picture, **figures())

    def tile_done(phase: Literal["encode", "decode"]) -> Callable[[tuple[int, int]], TileDone]:
        return lambda piece: TileDone(phase=phase, tile=piece[0], tiles=piece[1], **figures())

    phase: Phase = "encode"
    try:
        meter.start()
        yield StageStarted(stage=stage, weights=sampler.weights)
        z_ref = None
        if image is not None:
            with coding_as(model, stage.choices):
                encoding = autoencoder.encode(to_sample(image, stage.size))
                z_ref = yield from each(encoding, tile_done("encode"))
            give_back(meter.device)
        phase = "steps"
        with sampling_as(model, stage.choices, refines=sampler.refined is not None):
            latents = yield from each(sampler.sample(z_ref), step_done)
        _check_finite(latents, f"{stage.size}: the model's latents", "another model")
        give_back(meter.device)
        phase = "decode"
        with coding_as(model, stage.choices):
            sample = yield from each(autoencoder.decode(latents), tile_done("decode"))
        _check_finite(sample, f"{stage.size}: the decoded image", "another VAE (--vae)")
        if before is not None:
            hold = sampler.hold
            sigma_px = hold.sigma_px * stage.scale * before.width / stage.size.width
            sample = restore_base(sample, image, before, weight=hold.weight, sigma_px=sigma_px)
        image = to_image(sample)
        yield StageDone(stage=stage, image=image, seconds=meter.seconds, memory=meter.sample())
        return image
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        # Its traceback holds the stage's tensors.
        error.__traceback__ = None
        raise MemoryRanOut(phase) from None
    finally:
        meter.stop()


def _check_finite(values: torch.Tensor, what: str, other: str) -> None:
    """Raise NotFinite where values are not numbers: weights are broken, or half precision overflowed."""
    wrong = int((~torch.isfinite(values)).sum())
    if wrong:
        share = f"{wrong / values.numel():.0%}" if wrong * 100 >= values.numel() else f"{wrong:,}"
        raise NotFinite(
            f"{what} hold values that are not numbers ({share} of {values.numel():,}); "
            f"start with --dtype float32 or with {other}. StageCache stages are kept."
        )


def _leave_if(asked_to_stop: bool) -> None:
    if asked_to_stop:
        raise Stopped("The run was stopped; finished stages are kept.")
