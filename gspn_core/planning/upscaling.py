"""Stages that another network than the base model's draws: their weights, memory and time. Pure."""

from __future__ import annotations

import dataclasses

from gspn_core.kinds.kind import SUPERRES, UPSCALER, X4_PART, StageKind
from gspn_core.kinds.tiles import Tiling, make_tiling
from gspn_core.planning.costs import (
    Work,
    decode_operations,
    float32_speed,
    operations,
    operations_per_second,
    resident_bytes,
    superres_cost,
)
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import Machine, ModelCard, Shapes, Size, StagePlan
from gspn_core.planning.upscalers import chosen_upscaler, pass_cost
from gspn_core.setting_values import ladder_rungs
from gspn_core.settings import Override, Settings

# As published with the x4 upscaler.
_X4_VALUES = {"num_inference_steps": 75, "guidance_scale": 9.0, "scheduler": "ddim"}


def named_upscaler(settings: Settings, ladder: str, card: ModelCard) -> str:
    """Return the upscaler model of a run's settings; where its ladder needs one and none is named, the first.

    A picture's settings then name it, so that they repeat the run when the folder has other files too.
    """
    needed = any(kind == "esrgan" for kind, _ in ladder_rungs(ladder))
    return settings.upscaler or (card.upscalers[0].name if needed and card.upscalers else "")


def weights_of(kind: StageKind, own: Settings, card: ModelCard) -> str:
    """Return the digest of the weights that draw a stage next to the model's own, "" for none.

    Raises:
        BadSetting: its settings name an upscaler model that is not here.
    """
    if UPSCALER in kind.needs:
        return chosen_upscaler(card.upscalers, own.upscaler).digest
    return card.x4 if X4_PART in kind.needs else ""


def tiling_of(kind: StageKind, size: Size, card: ModelCard, own: Settings) -> Tiling | None:
    """Return the tiles of which the UNet draws a share, None for a stage that it draws as a whole."""
    if not kind.tiled:
        return None
    return make_tiling(size.height, size.width, card.base_px, card.size_multiple, own.tile_share)


def x4_overrides(settings: Settings, ladder: str) -> tuple[Override, ...]:
    """Return the published values of the x4 upscaler for its stages, where settings leave them to the model.

    What is set for such a stage, or for the whole run, stays.
    """
    asked = {(override.stage_px, override.name) for override in settings.overrides}
    return tuple(
        Override(stage_px=px, name=name, value=value)
        for kind, px in ladder_rungs(ladder)
        if kind == "x4"
        for name, value in _X4_VALUES.items()
        if getattr(settings, name) is None and (px, name) not in asked
    )


def drawn_with(shapes: Shapes, machine: Machine, stage: StagePlan) -> tuple[Shapes, Machine]:
    """Return the shapes of the model that denoises a stage, and the machine with timings as of that model."""
    x4 = shapes.x4
    if stage.backbone != "x4" or x4 is None:
        return shapes, machine

    def as_x4(timing: StageTiming) -> StageTiming:
        size = timing.height, timing.width
        steps = operations("attention", *size, x4) / operations(timing.mixer, *size, shapes)
        decoding = decode_operations(x4, *size) / decode_operations(shapes, *size) / float32_speed(machine)
        decode = None if timing.decode_seconds is None else timing.decode_seconds * decoding
        return dataclasses.replace(
            timing, mixer="attention", step_seconds=timing.step_seconds * steps, decode_seconds=decode
        )

    # Its autoencoder runs in float32.
    return x4, dataclasses.replace(machine, vae_bytes=4, timings=tuple(map(as_x4, machine.timings)))


def passed(stage: StagePlan, before: Size, work: Work, card: ModelCard, machine: Machine | None) -> StagePlan:
    """Return a stage in which nothing is sampled, with its bytes and seconds as far as they are known.

    Args:
        stage: its plan.
        before: size of the image that it enlarges.
        work: the stage as work.
        card: of the model, which stays in memory.
        machine: where it will run.
    """
    priced = machine is not None and card.shapes is not None
    if priced and SUPERRES in stage.kind.needs:
        peak_bytes, seconds = superres_cost(work, card.shapes, machine)
    elif priced and UPSCALER in stage.kind.needs:
        peak_bytes, seconds = _upscaler_cost(stage, before, work, card, card.shapes, machine)
    else:
        return dataclasses.replace(stage, seconds=None if stage.kind.needs else 0.0)
    fits = peak_bytes <= machine.budget_bytes
    return dataclasses.replace(stage, peak_bytes=peak_bytes, seconds=seconds, fits=fits)


def _upscaler_cost(
    stage: StagePlan, before: Size, work: Work, card: ModelCard, shapes: Shapes, machine: Machine
) -> tuple[int, float | None]:
    upscaler = chosen_upscaler(card.upscalers, stage.settings.upscaler)
    peak, operations = pass_cost(
        upscaler, (before.height, before.width), (stage.size.height, stage.size.width)
    )
    weights = 4 * upscaler.parameters + resident_bytes(work.mixer, shapes, machine)
    rate = operations_per_second(work, shapes, machine)
    return machine.base_bytes + weights + peak, None if rate is None else operations / rate
