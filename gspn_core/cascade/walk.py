"""The walk through a plan: text once, then stage after stage, each starting from the picture before.

A run with an init image keeps it as its first stage, or redraws it there.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image

from gspn_core.attention.registry import use_mixer
from gspn_core.backbones.backbone import Backbone, Rows
from gspn_core.backbones.lora import ENCODERS, UNET, Fusing, Loras
from gspn_core.backbones.model import Model
from gspn_core.backbones.registry import make_backbone
from gspn_core.backbones.samples import to_image, to_sample
from gspn_core.cascade.offload import coding_as, reading_text, sampling_as, stored_as
from gspn_core.cascade.oom import MemoryRanOut, is_out_of_memory, step_down
from gspn_core.cascade.preview import DecodedPreview, Preview
from gspn_core.cascade.sample import StageSampler, Step, stage_generator
from gspn_core.controls.control import StageSetup
from gspn_core.controls.inpaint_channels import masked_sample
from gspn_core.controls.registry import stage_controls
from gspn_core.errors import NotFinite, Stopped
from gspn_core.events import (
    CascadeDone,
    Event,
    PictureDone,
    PlanReady,
    StageDone,
    StageStarted,
    StepDone,
    TileDone,
)
from gspn_core.extension import NO_MARGINS
from gspn_core.images.extended import extended
from gspn_core.images.load import cropped
from gspn_core.kinds.kind import SUPERRES, UPSCALER
from gspn_core.kinds.tiles import Crop, drawn_crops
from gspn_core.planning.together import plan_together
from gspn_core.planning.types import CascadePlan, Machine, Phase, Size, StagePlan
from gspn_core.runtime.machine import collect, give_back
from gspn_core.runtime.meter import Meter


def run_cascade(
    model: Model,
    plan: CascadePlan,
    should_stop: Callable[[], bool],
    preview: Preview | DecodedPreview | None,
    finished: Sequence[Image.Image] = (),
    start: Image.Image | None = None,
    machine: Machine | None = None,
    more_seeds: Sequence[int] = (),
    loras: Loras | None = None,
    control_image: Image.Image | None = None,
) -> Iterator[Event]:
    """Yield PlanReady and the events of every stage.

    Args:
        model: a loaded model.
        plan: what to do.
        should_stop: asked at every step and every tile.
        preview: draws the small picture of a step, None for none.
        finished: pictures of the first stages, made before with equal keys; those stages are not run again.
        start: the init image, None where the plan's settings have none.
        machine: where this runs, as far as it is known. A stage that runs out of memory begins again with
            memory options that need less, and a Retried is yielded.
        more_seeds: seeds whose first stages are drawn at once with the plan's, and yielded as PictureDone.
        loras: the model's, None to look for them here.
        control_image: what the plan's ControlNet or T2I-Adapter reads, None where it has none.

    Raises:
        Stopped: should_stop said so.
        OutOfMemory: memory ran out with the options that need least.
    """
    with (loras or Loras(model)).fusing() as fusing:
        if model.conditions is not None:
            model.conditions.keep_only(s.condition.file for s in plan.stages if s.condition is not None)
        if control_image is not None:
            control_image = cropped(control_image, plan.stages[0].size.height, plan.stages[0].size.width)
        pictures = start, control_image
        yield from _stages(model, plan, should_stop, preview, finished, pictures, machine, more_seeds, fusing)


def _stages(
    model: Model,
    plan: CascadePlan,
    should_stop: Callable[[], bool],
    preview: Preview | DecodedPreview | None,
    finished: Sequence[Image.Image],
    pictures: tuple[Image.Image | None, Image.Image | None],
    machine: Machine | None,
    more_seeds: Sequence[int],
    fusing: Fusing,
) -> Iterator[Event]:
    began, alone = time.perf_counter(), plan
    start, control_image = pictures
    if more_seeds:
        plan = plan_together(plan)
    samplers = _samplers(model, plan, fusing)
    yield PlanReady(plan=plan, model_calls=tuple(sampler.model_calls for sampler in samplers))
    if start is not None:
        start = _entering(start, plan)
    image, index = (finished[-1] if finished else start), len(finished)
    while index < len(samplers):
        _leave_if(should_stop())
        sampler = samplers[index]
        if index == 1 and start is not None and not plan.stages[0].kind.denoises:
            # The init image may have more detail than the resized picture of its stage.
            image = start
        stage = plan.stages[index]
        if not stage.samples:
            image, index = (yield from _enlarged(model, stage, image, should_stop)), index + 1
            continue
        own = model.of(stage.backbone)
        if sampler.stage != stage:
            sampler = StageSampler(own, stage, sampler.rows, sampler.refiner_rows)
        fusing.use(stage.loras, UNET, stage.settings.mixer)
        try:
            with (
                use_mixer(own.pipeline.unet, sampler.settings.mixer, own.adapters),
                stored_as(own, sampler.stage.choices),
            ):
                before = plan.stages[index - 1].size if index else None
                seeds = () if index else more_seeds
                shown = preview if preview is None or own is model else Preview(own.pipeline.vae)
                given = image, control_image
                image = yield from _run_stage(own, sampler, given, before, should_stop, shown, seeds)
            index += 1
            continue
        except MemoryRanOut as ran_out:
            phase = ran_out.phase
        # Outside of the handler, where nothing holds the stage's tensors any more.
        del sampler
        if seeds:
            more_seeds, plan = (), alone
            collect(model.device)
            yield PlanReady(plan=plan, model_calls=tuple(sampler.model_calls for sampler in samplers))
            continue
        retried = step_down(plan, model.card, index, phase, machine)
        collect(model.device)
        plan = retried.plan
        yield retried
    yield CascadeDone(seconds=time.perf_counter() - began)


def _entering(start: Image.Image, plan: CascadePlan) -> Image.Image:
    """Return the init image as a plan's first stage takes it: of its aspect, and extended if asked for."""
    first = plan.stages[0]
    if first.margins == NO_MARGINS:
        return cropped(start, plan.size.height, plan.size.width)
    inner = first.size.within(first.margins)
    own = cropped(start, inner.height, inner.width)
    return extended(own, inner.height, inner.width, first.margins)


def _samplers(model: Model, plan: CascadePlan, fusing: Fusing) -> list[StageSampler]:
    """Return the stages ready to run, each text encoded once."""
    texts: dict[tuple[Hashable, ...], Rows] = {}

    def rows(backbone: Backbone, stage: StagePlan) -> Rows:
        own = stage.settings
        key = backbone.name, own.prompt, own.negative_prompt, stage.loras
        if key not in texts:
            fusing.use(stage.loras, ENCODERS)
            with reading_text(model.of(backbone.name)):
                texts[key] = backbone.read(own.prompt, own.negative_prompt)
        return backbone.rows(texts[key], stage)

    samplers = []
    for stage in plan.stages:
        refiner_rows = None
        if stage.kind.refines(stage.settings):
            refiner_rows = rows(make_backbone(model, "refiner"), stage)
        own = model.of(stage.backbone)
        samplers.append(StageSampler(own, stage, rows(make_backbone(own), stage), refiner_rows))
    fusing.restore()
    return samplers


def _enlarged(
    model: Model, stage: StagePlan, source: Image.Image, should_stop: Callable[[], bool]
) -> Iterator[Event]:
    """Yield the events of a stage in which nothing is denoised, and return its image."""
    progress = _Progress(stage, model.device, should_stop, None)
    progress.phase = "decode"
    try:
        progress.meter.start()
        yield StageStarted(stage=stage, weights=())
        size, own = stage.size, stage.settings
        if SUPERRES in stage.kind.needs:
            work = model.superres.enlarge(
                source, size.height, size.width, stage_generator(own.seed, stage.index)
            )
            image = yield from progress.each(work, progress.tile)
        elif UPSCALER in stage.kind.needs:
            work = model.upscalers.enlarge(own.upscaler, source, size.height, size.width)
            image = yield from progress.each(work, progress.tile)
        else:
            image = stage.kind.picture(source, size.height, size.width)
        processor_seconds = progress.meter.processor_seconds
        yield StageDone(stage=stage, image=image, processor_seconds=processor_seconds, **progress.figures)
        return image
    finally:
        progress.meter.stop()


def _run_stage(
    model: Model,
    sampler: StageSampler,
    given: tuple[Image.Image | None, Image.Image | None],
    before: Size | None,
    should_stop: Callable[[], bool],
    preview: Preview | DecodedPreview | None,
    more_seeds: Sequence[int] = (),
) -> Iterator[Event]:
    """Yield the events of one stage and return its image; raise MemoryRanOut where memory did.

    Args:
        model: a loaded model.
        sampler: the stage's.
        given: what the stage starts from, None for noise; and what its ControlNet or T2I-Adapter reads.
        before: size of the stage before it, None for the first.
        should_stop: asked at every step and every tile.
        preview: draws the small picture of a step, None for none.
        more_seeds: see `run_cascade`.
    """
    stage, backbone, (image, control_image) = sampler.stage, sampler.backbone, given
    progress = _Progress(stage, model.device, should_stop, preview)
    backbone.between = lambda: _leave_if(should_stop())
    codec = backbone.codec(stage.vae_tile_px)
    try:
        progress.meter.start()
        yield StageStarted(stage=stage, weights=sampler.weights)
        z_ref = None
        if image is not None and stage.kind.encodes:
            with coding_as(model, stage.choices):
                z_ref = yield from progress.each(codec.encode(to_sample(image, stage.size)), progress.tile)
            give_back(model.device)
        masked = None
        if stage.inpaints:
            with coding_as(model, stage.choices):
                work = codec.encode(masked_sample(stage, image))
                masked = yield from progress.each(work, progress.tile)
            give_back(model.device)
        crops = _crops(stage, image, before)
        network = None if stage.condition is None else model.conditions.network(stage.condition.file)
        setup = StageSetup(
            stage=stage,
            backbone=backbone,
            weights=sampler.weights,
            reference=z_ref,
            image=image,
            masked=masked,
            before=before,
            crops=crops,
            network=network,
            control_image=control_image,
        )
        controls = stage_controls(setup)
        progress.phase = "steps"
        refines = sampler.refiner is not None
        with sampling_as(model, stage.choices, refines=refines, steering=network):
            steps = sampler.sample(z_ref, controls, more_seeds, crops)
            latents = yield from progress.each(steps, progress.step)
        _check_finite(latents, f"{stage.size}: the model's latents", "another model")
        give_back(model.device)
        progress.phase = "decode"
        images = []
        for one in latents.split(1):
            with coding_as(model, stage.choices):
                picture = yield from progress.each(codec.decode(one), progress.tile)
            _check_finite(picture, f"{stage.size}: the decoded image", "another VAE (--vae)")
            for control in controls:
                picture = control.decoded(picture)
            images.append(to_image(picture))
        done = progress.done(images[0], together=len(images))
        yield done
        for seed, image in zip(more_seeds, images[1:], strict=True):
            yield PictureDone(seed=seed, done=dataclasses.replace(done, image=image))
        return images[0]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        # Its traceback holds the stage's tensors.
        error.__traceback__ = None
        raise MemoryRanOut(progress.phase) from None
    finally:
        progress.meter.stop()


def _crops(stage: StagePlan, image: Image.Image | None, before: Size | None) -> tuple[Crop, ...]:
    """Return the tiles of a stage that are drawn, () where all of it is drawn at once."""
    if stage.tiling is None:
        return ()
    return drawn_crops(image, stage.tiling, (before.height, before.width))


class _Progress:
    """What a stage's work yields as events, with its seconds and memory."""

    def __init__(
        self,
        stage: StagePlan,
        device: torch.device,
        should_stop: Callable[[], bool],
        preview: Preview | DecodedPreview | None,
    ) -> None:
        self.stage, self.should_stop, self.preview = stage, should_stop, preview
        self.meter = Meter(device)
        self.phase: Phase = "encode"

    @property
    def figures(self) -> dict[str, Any]:
        """Return seconds since the stage began and memory."""
        return {"seconds": self.meter.seconds, "memory": self.meter.sample()}

    def done(self, image: Image.Image, together: int) -> StageDone:
        """Return the event of the finished stage; together: how many pictures its seconds are of."""
        processor_seconds, figures = self.meter.processor_seconds, self.figures
        return StageDone(
            stage=self.stage,
            image=image,
            seconds=figures["seconds"] / together,
            memory=figures["memory"],
            processor_seconds=None if processor_seconds is None else processor_seconds / together,
            together=together,
        )

    def each(self, work: Iterator[Any], event: Callable[[Any], Event]) -> Iterator[Event]:
        """Yield an event for each piece of work and return the work's result; a stop is seen before each.

        Args:
            work: steps or tiles.
            event: `step` or `tile`.
        """
        while True:
            _leave_if(self.should_stop())
            try:
                piece = next(work)
            except StopIteration as done:
                return done.value
            yield event(piece)

    def tile(self, piece: tuple[int, int]) -> TileDone:
        """Return the event of a tile that went through the codec: its number of how many."""
        tile, tiles = piece
        return TileDone(stage=self.stage.index, phase=self.phase, tile=tile, tiles=tiles, **self.figures)

    def step(self, step: Step) -> StepDone:
        """Return the event of a finished step."""
        picture = None if self.preview is None else self.preview.image(step.denoised[:1])
        at, steps = self.stage.index, self.stage.steps
        return StepDone(stage=at, step=step.number, steps=steps, preview=picture, **self.figures)


def _check_finite(values: torch.Tensor, what: str, other: str) -> None:
    """Raise NotFinite where values are not numbers: weights are broken, or half precision overflowed."""
    wrong = int((~torch.isfinite(values)).sum())
    if wrong:
        share = f"{wrong / values.numel():.0%}" if wrong * 100 >= values.numel() else f"{wrong:,}"
        raise NotFinite(
            f"{what} hold values that are not numbers ({share} of {values.numel():,}); "
            f"start with --dtype float32 or with {other}. Finished stages are kept."
        )


def _leave_if(must_stop: bool) -> None:
    if must_stop:
        raise Stopped("The run was stopped; finished stages are kept.")
