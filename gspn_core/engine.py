"""The engine: a plan in, events out. The one class that an application needs of the core."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import torch
from PIL.Image import Image

from gspn_core.cascade.all_mixers import with_all_mixers
from gspn_core.cascade.benchmark import calibrate
from gspn_core.cascade.conditioning import truncation_notice
from gspn_core.cascade.latents import DecodedPreview, Preview
from gspn_core.cascade.model import Model
from gspn_core.cascade.oom import is_out_of_memory
from gspn_core.cascade.sample import evaluations, stage_weights
from gspn_core.cascade.stage_parts import PaceKeeper
from gspn_core.cascade.walk import run_cascade
from gspn_core.errors import BadSetting, OutOfMemory
from gspn_core.events import Calibrated, Event, StepWeights
from gspn_core.images.load import check_start
from gspn_core.planning.costs import predict
from gspn_core.planning.plan import check_fits, make_plan, work_of
from gspn_core.planning.types import CascadePlan, Machine, MemoryOptions, Pace, Size, StagePlan
from gspn_core.runtime.device import machine_signature
from gspn_core.runtime.machine import give_back, read_machine
from gspn_core.runtime.placement import bytes_on_host
from gspn_core.runtime.version import code_version
from gspn_core.settings import Mixer, Settings


class Engine:
    """Run settings on one loaded model; one run at a time, the caller sees to that."""

    def __init__(self, model: Model, *, memory_bytes: int | None = None) -> None:
        """Take a loaded model. memory_bytes: the most that a stage may take; None for what there is."""
        self.model = model
        self._memory_bytes = memory_bytes
        self._calls: dict[tuple, float] = {}
        self._paces: dict[tuple[Mixer, Size], Pace] = {}
        self._works = False
        self._machine = self._read_machine()

    @property
    def machine(self) -> Machine | None:
        """Return what plans are made for, with all that was measured on it; None for a model of no shapes."""
        if not self._works:
            # At work a stage's own memory would be taken for the process's.
            self._machine = self._read_machine()
        if self._machine is None:
            return None
        return dataclasses.replace(self._machine, paces=self.paces)

    def plan(self, settings: Settings) -> CascadePlan:
        """Return what a run of these settings would do; raise BadSetting with the reason if it cannot."""
        plan = make_plan(settings, self.model.card, self.machine, self.model_calls)
        notice = truncation_notice(self.model.pipeline, settings.prompt)
        return plan if notice is None else dataclasses.replace(plan, notices=(*plan.notices, notice))

    def weights(self, settings: Settings) -> tuple[tuple[StepWeights, ...], ...]:
        """Return what each step of each stage would mix, none for the first stage; raise BadSetting."""
        config = self.model.pipeline.scheduler.config
        return tuple(stage_weights(config, stage) for stage in self.plan(settings).stages)

    def model_calls(self, stage: StagePlan) -> float:
        """Return how many times a stage evaluates the UNet on the guidance pair; half of it counts half."""
        own = stage.settings
        key = (
            stage.index == 0,
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
        settings: Settings,
        should_stop: Callable[[], bool] = lambda: False,
        *,
        previews: bool = True,
        finished: Sequence[Image] = (),
        start: Image | None = None,
    ) -> Iterator[Event]:
        """Yield the run's events, PlanReady first, CascadeDone last.

        Args:
            settings: what to draw.
            should_stop: asked at every step and every tile.
            previews: whether steps bring a small picture of the estimate.
            finished: RGB pictures of the first stages, each at its stage's size, from a run whose plan gave
                them the same keys; the run goes on after them, to the same bytes as if it had made them.
            start: the picture that settings.start names, as `gspn_core.images.load` reads it.

        Raises:
            BadSetting: before the first event, for arguments that cannot be.
            Stopped: should_stop said so. OutOfMemory: a stage does not fit. The pictures of finished stages
                have been yielded by then.
        """
        if not isinstance(settings, Settings):
            kind = type(settings).__name__
            raise BadSetting("settings", f"settings must be Settings, got {kind}; give Settings(prompt=…).")
        plan = self.plan(settings)
        check_fits(plan)
        _check_images(plan, finished, start)
        check_start(plan.settings, start)
        self._works = True
        try:
            preview = self._preview if previews else None
            keeper = PaceKeeper()
            for event in run_cascade(self.model, plan, should_stop, preview, finished, start, self.machine):
                self._learn(keeper.follow(event))
                yield event
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
    def calibrate(
        self, should_stop: Callable[[], bool] = lambda: False, *, limit_seconds: float = 6.0
    ) -> Iterator[Calibrated]:
        """Measure what stages cost here, the small ones first; see `cascade.calibrate`.

        It must not go on beside a run. What was measured before is left out; `should_stop` is asked many
        times a second, and nothing is begun that is expected to take longer than limit_seconds.
        """
        measured_now = calibrate(
            self.model,
            should_stop,
            limit_seconds=limit_seconds,
            known=dict(self._paces),
            fits=self._has_room,
        )
        self._works = True
        try:
            for measured in measured_now:
                pace = Pace(
                    mixer=measured.mixer,
                    height=measured.size.height,
                    width=measured.size.width,
                    head_seconds=measured.head_seconds,
                    call_seconds=measured.call_seconds,
                    tail_seconds=measured.tail_seconds,
                )
                self._learn(pace)
                yield measured
        finally:
            give_back(self.model.device)
            self._works = False

    @torch.inference_mode()
    def measure_mixers(
        self, should_stop: Callable[[], bool] = lambda: False, *, limit_seconds: float = 3.0
    ) -> Iterator[Calibrated]:
        """Measure like `calibrate`, with those mixers too for which the model has no trained weights.

        What is only there for the measurement is not counted in its peak_bytes.
        """
        model, extra_bytes = with_all_mixers(self.model)
        self._works = True
        try:
            for measured in calibrate(model, should_stop, limit_seconds=limit_seconds):
                yield dataclasses.replace(measured, peak_bytes=max(0, measured.peak_bytes - extra_bytes))
        finally:
            del model
            give_back(self.model.device)
            self._works = False

    @property
    def paces(self) -> tuple[Pace, ...]:
        """Return all that was measured of this machine, by `calibrate`, in runs, or before (`take_paces`)."""
        return tuple(self._paces.values())

    def take_paces(self, paces: Iterable[Pace]) -> None:
        """Take what was measured earlier under the same `pace_key`."""
        for pace in paces:
            self._learn(pace)

    @property
    def pace_key(self) -> str:
        """Return what a pace depends on, in one word: model, machine, threads, dtype and code."""
        card, unet = self.model.card, self.model.pipeline.unet
        told = card.name, card.fingerprint, unet.dtype, machine_signature(unet.device), code_version()
        return hashlib.sha256(repr(told).encode()).hexdigest()[:24]

    def _has_room(self, stage: StagePlan, mixer: Mixer) -> bool:
        """Tell whether a stage has the memory for its fastest way; where nobody knows, it is tried."""
        machine, shapes = self._machine, self.model.card.shapes
        if self.model.pipeline.unet.device.type != self.model.device.type:
            # A model that is larger than the card comes by parts, which is no fast way.
            return False
        if machine is None:
            return True
        work = dataclasses.replace(work_of(stage), mixer=mixer)
        return predict(work, MemoryOptions(), shapes, machine).peak_bytes <= machine.budget_bytes

    def _learn(self, pace: Pace | None) -> None:
        if pace is not None:
            self._paces[pace.mixer, Size(pace.height, pace.width)] = pace

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
            # A GPU that is lent for single calls tells nothing of itself outside of them.
            return None
        # What of the model lies on the host may lie there.
        held = bytes_on_host(self.model.parts) if machine.device == "cuda" else 0
        return dataclasses.replace(machine, host_bytes=machine.host_bytes + held)

    @cached_property
    def _preview(self) -> Preview | DecodedPreview:
        if self.model.preview is not None:
            return DecodedPreview(self.model.preview)
        return Preview(self.model.pipeline.vae)


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
