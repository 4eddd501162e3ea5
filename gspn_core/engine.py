"""The engine: a plan in, events out. The one class that an application needs of the core."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from PIL.Image import Image

from gspn_core.backbones.lora import Loras
from gspn_core.backbones.model import Model
from gspn_core.backbones.prompt_reader import PromptReader
from gspn_core.backbones.x4 import X4PromptReader
from gspn_core.cascade.all_mixers import with_all_mixers
from gspn_core.cascade.benchmark import measure_stages
from gspn_core.cascade.oom import is_out_of_memory
from gspn_core.cascade.preview import DecodedPreview, Preview
from gspn_core.cascade.walk import run_cascade
from gspn_core.cascade.weights import evaluations, stage_weights
from gspn_core.errors import BadSetting, OutOfMemory
from gspn_core.events import Event, StageNotTimed, StageTimed, StepWeights
from gspn_core.images.load import check_control_image, check_start
from gspn_core.kinds.kind import UPSCALE
from gspn_core.planning.conditions import condition_notices
from gspn_core.planning.costs import predict
from gspn_core.planning.plan import check_fits, fits_into, make_plan, work_of
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.together import drawn_together
from gspn_core.planning.types import CascadePlan, Machine, MemoryOptions, ModelCard, StagePlan
from gspn_core.runtime.device import machine_signature
from gspn_core.runtime.machine import give_back, read_machine
from gspn_core.runtime.placement import bytes_on_host
from gspn_core.runtime.version import code_version
from gspn_core.settings import Mixer, Settings


class Engine:
    """Plan and run on one loaded model. Not thread-safe: the caller makes sure that runs do not overlap.

    Args:
        model: from `gspn_core.models.loading.load_model`.
        memory_bytes: the most memory that a stage may take; None for all that is free.
    """

    def __init__(self, model: Model, *, memory_bytes: int | None = None) -> None:
        self.model = model
        self._memory_bytes = memory_bytes
        self._calls: dict[tuple, float] = {}
        # What stages took on this machine; called for every plan.
        self.timings: Callable[[], Sequence[StageTiming]] = tuple
        self._works = False
        self._loras = Loras(model)
        self._machine = self._read_machine()
        self._texts = PromptReader(model.pipeline)
        self._x4_texts = None if model.x4 is None else X4PromptReader(model.x4)

    @property
    def machine(self) -> Machine | None:
        """Return the machine that plans are made for, with its timings; None if shapes are unknown."""
        if not self._works:
            # During a run, the stage's memory would be counted as the process's.
            self._machine = self._read_machine()
        if self._machine is None:
            return None
        return dataclasses.replace(self._machine, timings=tuple(self.timings()))

    def plan(self, settings: Settings) -> CascadePlan:
        """Plan a run.

        Args:
            settings: what to draw; `None` fields take the model's defaults.

        Returns:
            The plan for `run`: every stage with its size, steps, memory options, and predicted bytes and
            seconds where they are known.

        Raises:
            BadSetting: the model cannot run these settings; the message has the reason.
        """
        plan = make_plan(settings, self.model.card, self.machine, self.model_calls, self._texts.chunks)
        plan = self._texts.added_to(plan)
        notices = (*self._loras.notices(plan), *condition_notices(plan))
        if self._x4_texts is not None:
            notices = (*self._x4_texts.notices(plan), *notices)
        return dataclasses.replace(plan, notices=(*plan.notices, *notices)) if notices else plan

    def still_fits(self, plan: CascadePlan) -> bool:
        """Return whether a plan fits into the memory that there is now; on a GPU a run finds out.

        A GPU refuses memory, and the stage begins again with less; a host's kernel may end the process.
        """
        machine = self.machine
        return machine is None or machine.device != "cpu" or fits_into(plan, self.model.card, machine)

    def weights(self, plan: CascadePlan) -> tuple[tuple[StepWeights, ...], ...]:
        """Return the weights of each step of each stage of a plan; a first stage has none."""
        config = self.model.pipeline.scheduler.config
        return tuple(stage_weights(config, stage) for stage in plan.stages)

    def model_calls(self, stage: StagePlan) -> float:
        """Return how many times a stage evaluates the UNet on the guidance pair; half a pair counts half."""
        own = stage.settings
        key = (
            stage.kind.name,
            stage.num_inference_steps,
            stage.steps,
            stage.guided_steps,
            stage.evaluations_per_step,
            own.scheduler,
            *(getattr(own, name) for name in sorted(UPSCALE & stage.kind.reads)),
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
        more_seeds: Sequence[int] = (),
        control_image: Image | None = None,
    ) -> Iterator[Event]:
        """Run a plan and yield its events: PlanReady first, CascadeDone last.

        The plan is run as it is, even if the free memory has changed since it was made. If memory runs out,
        the stage starts again with options that need less, and a Retried event has the plan that is valid
        from there on, with its new keys.

        Args:
            plan: from `Engine.plan`.
            should_stop: called at every step and every tile; the run stops once it returns True.
            previews: whether StepDone events have a small picture of the current estimate.
            finished: RGB pictures of the first stages, each at its stage's size, from a run whose stages had
                the same keys. The run continues after them, with the same result to the byte.
            start: the init image that plan.settings.start names, as `gspn_core.images.load` reads it.
            more_seeds: further seeds. The first stages of as many as fit into memory, from the first on, are
                drawn at once with the plan's, and each is yielded as a PictureDone after its StageDone. They
                are what their seeds give alone but for the rounding of sums over more rows.
            control_image: likewise the picture that plan.settings.control_image names, where the plan has a
                ControlNet or T2I-Adapter.

        Raises:
            BadSetting: the arguments do not fit each other; before the first event.
            OverBudget: a stage does not fit into the budget; before the first event.
            Stopped: should_stop returned True. Finished stages have been yielded.
            OutOfMemory: memory ran out with every option that saves some. Finished stages have been yielded.
        """
        _check_plan(plan, self.model.card)
        check_fits(plan)
        _check_images(plan, finished, start)
        check_start(plan.settings, start)
        check_control_image(plan.control_image, control_image)
        # Read now: during the run, the stage's memory would be counted as the process's.
        machine = self.machine
        self._works = True
        try:
            preview = self._preview if previews else None
            count = 1
            if not finished and start is None:
                count = drawn_together(plan, 1 + len(more_seeds))
            seeds = tuple(more_seeds)[: count - 1]
            yield from run_cascade(
                self.model,
                plan,
                should_stop,
                preview,
                finished,
                start,
                machine,
                seeds,
                self._loras,
                control_image if plan.control_image else None,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # The traceback holds the stage's tensors; without it they are freed before the cache is emptied.
            error.__traceback__ = None
            raise OutOfMemory(
                f"memory ran out in a run to {plan.settings.target} px; finished stages are kept, free "
                "memory and run it again."
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
        """Measure the time and memory of stages, small ones first; see `cascade.benchmark`. Not during a run.

        Args:
            should_stop: called many times per second.
            every_mixer: include mixers for which the model has no trained weights, and sizes that were
                measured before; memory that only the measurement needs is not counted in peak_bytes.
            limit_seconds: measurements that are expected to take longer are left out.
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
        """Return a digest of everything that timings depend on: model, machine, threads, dtype and code."""
        card, unet = self.model.card, self.model.pipeline.unet
        parts = card.name, card.fingerprint, unet.dtype, machine_signature(unet.device), code_version()
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]

    def _has_room(self, stage: StagePlan, mixer: Mixer) -> bool:
        """Return whether a stage fits into memory with its fastest options; True if unknown."""
        machine, shapes = self._machine, self.model.card.shapes
        if self.model.pipeline.unet.device.type != self.model.device.type:
            # An offloaded model is moved to the device part by part, which is slow.
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
            # On ZeroGPU the device cannot be queried outside of GPU calls.
            return None
        if machine.device == "cpu" and self.model.conditions is not None:
            # A stage counts the network that it has, and a run without one lets go of it.
            base_bytes = max(0, machine.base_bytes - self.model.conditions.held_bytes)
            machine = dataclasses.replace(machine, base_bytes=base_bytes)
        # Memory of parts that are on the host is available to offloading.
        held = bytes_on_host(self.model.parts) if machine.device == "cuda" else 0
        return dataclasses.replace(machine, host_bytes=machine.host_bytes + held)

    @cached_property
    def _preview(self) -> Preview | DecodedPreview:
        if self.model.preview is not None:
            return DecodedPreview(self.model.preview)
        return Preview(self.model.pipeline.vae)


def _check_plan(plan: CascadePlan, card: ModelCard) -> None:
    """Raise BadSetting for anything but a plan, and for the plan of another model."""
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
    """Raise BadSetting for pictures that do not match the plan."""
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
