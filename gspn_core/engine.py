"""The engine: a plan in, events out. The one class that an application needs of the core."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from PIL.Image import Image

from gspn_core.backbones.conditioning import truncation_notice
from gspn_core.backbones.model import Model
from gspn_core.cascade.all_mixers import with_all_mixers
from gspn_core.cascade.benchmark import measure_stages
from gspn_core.cascade.oom import is_out_of_memory
from gspn_core.cascade.preview import DecodedPreview, Preview
from gspn_core.cascade.walk import run_cascade
from gspn_core.cascade.weights import evaluations, stage_weights
from gspn_core.errors import BadSetting, OutOfMemory
from gspn_core.events import Event, StageNotTimed, StageTimed, StepWeights
from gspn_core.images.load import check_start
from gspn_core.planning.costs import predict
from gspn_core.planning.plan import check_fits, make_plan, work_of
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import CascadePlan, Machine, MemoryOptions, ModelCard, StagePlan
from gspn_core.runtime.device import machine_signature
from gspn_core.runtime.machine import give_back, read_machine
from gspn_core.runtime.placement import bytes_on_host
from gspn_core.runtime.version import code_version
from gspn_core.settings import Mixer, Settings


class Engine:
    """Plan and run on one loaded model; one run at a time, the caller sees to that."""

    def __init__(self, model: Model, *, memory_bytes: int | None = None) -> None:
        """Take a loaded model. memory_bytes: the most that a stage may take; None for what there is."""
        self.model = model
        self._memory_bytes = memory_bytes
        self._calls: dict[tuple, float] = {}
        # What stages took here before, asked for by every plan.
        self.timings: Callable[[], Sequence[StageTiming]] = tuple
        self._works = False
        self._machine = self._read_machine()

    @property
    def machine(self) -> Machine | None:
        """Return what plans are made for, with what stages took on it; None for a model of no shapes."""
        if not self._works:
            # At work a stage's own memory would be taken for the process's.
            self._machine = self._read_machine()
        if self._machine is None:
            return None
        return dataclasses.replace(self._machine, timings=tuple(self.timings()))

    def plan(self, settings: Settings) -> CascadePlan:
        """Return what a run of these settings would do; raise BadSetting with the reason if it cannot."""
        plan = make_plan(settings, self.model.card, self.machine, self.model_calls)
        notice = truncation_notice(self.model.pipeline, settings.prompt)
        return plan if notice is None else dataclasses.replace(plan, notices=(*plan.notices, notice))

    def weights(self, plan: CascadePlan) -> tuple[tuple[StepWeights, ...], ...]:
        """Return what each step of each stage of a plan would mix, none for the first stage."""
        config = self.model.pipeline.scheduler.config
        return tuple(stage_weights(config, stage) for stage in plan.stages)

    def model_calls(self, stage: StagePlan) -> float:
        """Return how many times a stage evaluates the UNet on the guidance pair; half of it counts half."""
        own = stage.settings
        key = (
            stage.kind.name,
            own.scheduler,
            stage.num_inference_steps,
            stage.steps,
            stage.guided_steps,
            own.upscale_strength,
            own.cosine_scale_2,
            own.dilated_min_weight,
            own.dilation_use,
            own.dilation_until,
        )
        if key not in self._calls:
            weights = stage_weights(self.model.pipeline.scheduler.config, stage)
            self._calls[key] = evaluations(stage, weights)
        return self._calls[key]

    @torch.inference_mode()
    def run(
        self,
        plan: CascadePlan,
        should_stop: Callable[[], bool] = lambda: False,
        *,
        previews: bool = True,
        finished: Sequence[Image] = (),
        start: Image | None = None,
    ) -> Iterator[Event]:
        """Yield the run's events, PlanReady first, CascadeDone last.

        The plan is what runs, whatever memory has become free or taken since it was made. Where memory runs
        out, a stage begins again in a way that needs less, and a Retried brings the plan that holds from
        there on, with the keys of the pictures that it leads to.

        Args:
            plan: what to do, as `plan` makes it from settings.
            should_stop: asked at every step and every tile.
            previews: whether steps bring a small picture of the estimate.
            finished: RGB pictures of the first stages, each at its stage's size, from a run whose plan gave
                them the same keys; the run goes on after them, to the same bytes as if it had made them.
            start: the picture that plan.settings.start names, as `gspn_core.images.load` reads it.

        Raises:
            BadSetting: before the first event, for arguments that cannot be.
            Stopped: should_stop said so. OutOfMemory: a stage does not fit. The pictures of finished stages
                have been yielded by then.
        """
        _check_plan(plan, self.model.card)
        check_fits(plan)
        _check_images(plan, finished, start)
        check_start(plan.settings, start)
        # Read now: at work a stage's own memory would be taken for the process's.
        machine = self.machine
        self._works = True
        try:
            preview = self._preview if previews else None
            yield from run_cascade(self.model, plan, should_stop, preview, finished, start, machine)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # The traceback holds the stage's tensors; without it they are freed before the cache is emptied.
            error.__traceback__ = None
            raise OutOfMemory(
                f"memory ran out at a target of {plan.settings.target} px; finished stages are kept, "
                "try the next smaller target."
            ) from None
        finally:
            give_back(self.model.device)
            self._works = False

    @torch.inference_mode()
    def measure(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        *,
        every_mixer: bool = False,
        limit_seconds: float = 3.0,
    ) -> Iterator[StageTimed | StageNotTimed]:
        """Measure what stages cost here, the small ones first; see `cascade.benchmark`. Never during a run.

        Args:
            should_stop: asked many times a second.
            every_mixer: also those for which the model has no trained weights, and whatever was measured
                before once more; what is there for the measurement alone is not counted in peak_bytes.
            limit_seconds: nothing is begun that is expected to take longer.
        """
        model, extra_bytes = with_all_mixers(self.model) if every_mixer else (self.model, 0)
        known = [timing for timing in self.timings() if timing.source == "measurement" and not every_mixer]
        found = measure_stages(
            model, should_stop, limit_seconds=limit_seconds, known=known, fits=self._has_room
        )
        self._works = True
        try:
            for event in found:
                if isinstance(event, StageTimed) and event.timing.peak_bytes is not None:
                    peak_bytes = max(0, event.timing.peak_bytes - extra_bytes)
                    timing = dataclasses.replace(event.timing, peak_bytes=peak_bytes)
                    event = StageTimed(timing=timing)
                yield event
        finally:
            del model
            give_back(self.model.device)
            self._works = False

    @property
    def timing_key(self) -> str:
        """Return in one word what seconds depend on: model, machine, threads, dtype and code."""
        card, unet = self.model.card, self.model.pipeline.unet
        parts = card.name, card.fingerprint, unet.dtype, machine_signature(unet.device), code_version()
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]

    def _has_room(self, stage: StagePlan, mixer: Mixer) -> bool:
        """Tell whether a stage has the memory for its fastest options; True where that is not known."""
        machine, shapes = self._machine, self.model.card.shapes
        if self.model.pipeline.unet.device.type != self.model.device.type:
            # A model that is larger than the card comes by parts, which is slow.
            return False
        if machine is None:
            return True
        work = dataclasses.replace(work_of(stage), mixer=mixer)
        return predict(work, MemoryOptions(), shapes, machine).peak_bytes <= machine.budget_bytes

    def _read_machine(self) -> Machine | None:
        shapes, unet = self.model.card.shapes, self.model.pipeline.unet
        if shapes is None:
            return None
        try:
            machine = read_machine(
                shapes,
                self.model.device,
                unet.dtype,
                vae_dtype=self.model.pipeline.vae.dtype,
                memory_bytes=self._memory_bytes,
            )
        except (RuntimeError, AssertionError):
            # A ZeroGPU card cannot be asked outside of its calls.
            return None
        # What of the model lies on the host may lie there.
        held = bytes_on_host(self.model.parts) if machine.device == "cuda" else 0
        return dataclasses.replace(machine, host_bytes=machine.host_bytes + held)

    @cached_property
    def _preview(self) -> Preview | DecodedPreview:
        if self.model.preview is not None:
            return DecodedPreview(self.model.preview)
        return Preview(self.model.pipeline.vae)


def _check_plan(plan: CascadePlan, card: ModelCard) -> None:
    """Raise BadSetting for what is not a plan, and for the plan of another model."""
    remedy = "call engine.run(engine.plan(Settings(prompt=…)))"
    if not isinstance(plan, CascadePlan):
        raise BadSetting("plan", f"plan must be a CascadePlan, got {type(plan).__name__}; {remedy}.")
    if plan.model != card.name:
        raise BadSetting("plan", f"plan was made for the model {plan.model}, this is {card.name}; {remedy}.")
    if plan.fingerprint != card.fingerprint:
        raise BadSetting(
            "plan", f"plan was made for other files or options of the model {card.name}; {remedy}."
        )


def _check_images(plan: CascadePlan, finished: Sequence[Image], start: Image | None) -> None:
    """Raise BadSetting for pictures that the plan has no place for."""
    if start is not None and not isinstance(start, Image):
        kind = type(start).__name__
        raise BadSetting("start", f"start must be a PIL image, got {kind}; open the file first.")
    if start is not None and not plan.settings.start:
        raise BadSetting(
            "start", "start was given and settings.start is empty; set it to reference_of(start) as well."
        )
    if not isinstance(finished, (list, tuple)):
        kind = type(finished).__name__
        raise BadSetting("finished", f"finished must be a list of PIL images, got {kind}; give () for none.")
    given, stages = len(finished), len(plan.stages)
    if given > stages:
        raise BadSetting(
            "finished", f"finished has {given} images and the run {stages} stages; leave the last ones out."
        )
    for number, (image, stage) in enumerate(zip(finished, plan.stages, strict=False), start=1):
        if not isinstance(image, Image):
            kind = type(image).__name__
            raise BadSetting("finished", f"finished image {number} must be a PIL image, got {kind}.")
        size = (stage.size.width, stage.size.height)
        if image.mode != "RGB" or image.size != size:
            raise BadSetting(
                "finished",
                f"finished image {number} must be RGB of {stage.size} px, got {image.mode} of "
                f"{image.width}×{image.height}; give the image of that stage as it was made.",
            )
