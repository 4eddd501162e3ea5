"""From settings to a plan: sizes, steps, tiles. Pure arithmetic, without torch.

Every `None` of the settings is resolved here from the model's card.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

from gspn_core.errors import BadSetting, OverBudget, UnsupportedSize
from gspn_core.extension import NO_MARGINS
from gspn_core.kinds.kind import OTHER_MODELS, StageKind
from gspn_core.kinds.registry import DEFAULT, FOLLOWING_ONLY
from gspn_core.planning.conditions import check_control, stage_condition
from gspn_core.planning.costs import Prediction, Work, batch_bytes, pair_calls, predict, tile_px
from gspn_core.planning.fitting import fit, least, merged
from gspn_core.planning.init_image import (
    effective_aspect,
    extension_margins,
    first_target,
    kept_size,
)
from gspn_core.planning.keys import first_key, stage_key
from gspn_core.planning.ladder import rungs, with_strengths
from gspn_core.planning.loras import check_host_memory, stage_loras, without_tags
from gspn_core.planning.types import CascadePlan, Machine, MemoryOptions, ModelCard, Shapes, Size, StagePlan
from gspn_core.planning.upscaling import (
    drawn_with,
    named_upscaler,
    passed,
    tiling_of,
    weights_of,
    x4_overrides,
)
from gspn_core.prompts import plain_text
from gspn_core.setting_values import aspect_ratio
from gspn_core.settings import MAX_SEED, OVERRIDABLE, STARTING, Override, Settings

Value = TypeVar("Value")
Calls = Callable[["StagePlan"], float]
Chunks = Callable[..., int]


def make_plan(
    settings: Settings,
    card: ModelCard,
    machine: Machine | None = None,
    calls: Calls | None = None,
    chunks: Chunks | None = None,
) -> CascadePlan:
    """Make the plan of a run.

    Args:
        settings: what was asked for; a seed of None is drawn here, so that the plan and the picture's
            metadata can repeat the run.
        card: of the model.
        machine: where the run will be computed. With it, memory (bytes) and time (seconds) of each stage are
            predicted, and each gets the fastest memory options that fit.
        calls: returns how often a stage evaluates the UNet; None counts one evaluation per step.
        chunks: returns how many chunks the longest of some texts is encoded in; None counts one.

    Returns:
        The plan. A stage that does not fit into memory is marked: see `CascadePlan.too_large`.

    Raises:
        BadSetting: the model cannot run these settings; the message has the reason.
    """
    settings = without_tags(settings, card)
    check_control(settings, card.conditions or ())
    resolved, first_px = _resolved(settings, card)
    ladder = rungs(resolved, card, first_px, resolved.target)
    _check_overrides(resolved, card, ladder)
    stages: list[StagePlan] = []
    for kind, stage_px in ladder:
        stage = _sized(resolved, card, stages, kind, stage_px, first_px)
        if chunks is not None and kind.denoises and kind.backbone == "sdxl":
            own = stage.settings
            stage = dataclasses.replace(stage, text_chunks=chunks(own.prompt, own.negative_prompt))
        if not stage.samples:
            source = stages[-1].size if stages else stage.size
            stage = passed(stage, source, work_of(stage), card, machine)
        elif machine is not None and card.shapes is not None:
            stage = _fitted(stage, card.shapes, machine, calls)
        before = stages[-1].key if stages else first_key(card)
        stages.append(dataclasses.replace(stage, key=stage_key(before, stage)))
    return CascadePlan(
        model=card.name,
        fingerprint=card.fingerprint,
        settings=resolved,
        stages=tuple(stages),
        notices=_notices(settings, card),
        budget_bytes=None if machine is None or card.shapes is None else machine.budget_bytes,
    )


def _resolved(settings: Settings, card: ModelCard) -> tuple[Settings, int]:
    """Return the settings with no None left in them, and the size in px of the first stage."""
    mixer = _or_default(settings.mixer, card.mixers[0])
    if mixer not in card.mixers:
        have = " and ".join(card.mixers)
        raise BadSetting("mixer", f"{card.title} has no {mixer} mixer here; it has {have}.")
    if settings.refiner != "none" and not card.has_refiner:
        raise BadSetting(
            "refiner",
            f"{card.title} has no refiner here; choose none, or start with --refiner-model sdxl-refiner.",
        )
    target = _or_default(settings.target, card.default_target_px)
    if target not in card.targets:
        nearest = min(card.targets, key=lambda px: abs(px - target))
        offered = ", ".join(map(str, card.targets))
        raise UnsupportedSize(
            "target", f"{card.title} reaches a target of {offered} px, got {target}; try {nearest}."
        )
    first_px, aspect = first_target(settings, card.targets, target), effective_aspect(settings)
    steps = _or_default(settings.num_inference_steps, card.num_inference_steps)
    strength = _or_default(settings.upscale_strength, card.upscale_strength)
    ladder = settings.ladder or card.ladder
    resolved = dataclasses.replace(
        settings,
        start_px=first_px if settings.start else 0,
        target=target,
        aspect=aspect,
        ladder=ladder,
        upscaler=named_upscaler(settings, ladder, card),
        mixer=mixer,
        num_inference_steps=steps,
        guidance_scale=_or_default(settings.guidance_scale, card.guidance_scale),
        scheduler=_or_default(settings.scheduler, card.scheduler),
        upscale_strength=strength,
        seed=_or_default(settings.seed, secrets.randbelow(MAX_SEED + 1)),
        overrides=(*settings.overrides, *x4_overrides(settings, ladder)),
    )
    if settings.upscale_strength is None:
        resolved = dataclasses.replace(resolved, overrides=with_strengths(resolved, card, first_px))
    return resolved, first_px


def _sized(
    resolved: Settings,
    card: ModelCard,
    before: Sequence[StagePlan],
    kind: StageKind,
    stage_px: int,
    first_px: int,
) -> StagePlan:
    """Return the stage of that kind and size that follows the stages in `before`."""
    own_size = kept_size(resolved, card, first_px)
    entry = own_size or nearest_size(resolved.aspect, first_px, card.size_multiple)
    margins = extension_margins(resolved, card, entry, first_px, resolved.target)
    base = entry.extended(margins)
    size, own = base.scaled(stage_px // first_px), resolved.at_stage(stage_px)
    is_base = kind.backbone == "sdxl"
    if not is_base:
        own = dataclasses.replace(own, mixer="attention")
    steps, refining = kind.steps(own)
    return StagePlan(
        index=len(before),
        kind=kind,
        size=size,
        px=stage_px,
        ratio=stage_px // before[-1].px if before else 1,
        scale=stage_px // card.base_px,
        num_inference_steps=own.num_inference_steps,
        steps=steps,
        refiner_steps=refining,
        vae_tile_px=card.coding_tile_px(size, kind.backbone),
        settings=own,
        backbone=kind.backbone,
        embeds_guidance=is_base and card.embeds_guidance,
        inpaints=is_base and card.inpaints,
        margins=NO_MARGINS if before else margins,
        weights=weights_of(kind, own, card),
        loras=stage_loras(own, card) if kind.denoises and is_base else (),
        tiling=tiling_of(kind, size, card, own),
        condition=stage_condition(kind, own, card.conditions or (), steps - refining),
    )


def check_fits(plan: CascadePlan) -> None:
    """Check that every stage fits into the memory that the plan was made for.

    Raises:
        OverBudget: one does not; the message says what it needs, what is available and what would fit.
    """
    stage = plan.too_large
    if stage is None:
        return
    remedy = "free memory or choose a smaller model"
    last = plan.stages[max(0, stage.index - 1)]
    if stage.index and last.kind.denoises:
        remedy = f"try a target of {last.px}"
    raise OverBudget(
        "target",
        f"{stage.size} px needs {stage.peak_bytes / 1e9:.2f} GB of memory at least and there are "
        f"{plan.budget_bytes / 1e9:.2f} GB; {remedy}.",
    )


def work_of(stage: StagePlan, calls: Calls | None = None) -> Work:
    """Return a stage as work for the memory prediction, with the model's own autoencoder tiles."""
    own = pair_calls(stage.steps, stage.guided_steps) * stage.evaluations_per_step
    pairs = own if calls is None else calls(stage)
    rows, drawn = 2 if stage.guided_steps else 1, stage.drawn_at_once
    return Work(
        height=stage.size.height,
        width=stage.size.width,
        mixer=stage.settings.mixer,
        calls=pairs * 2 / rows,
        rows=rows,
        has_reference=stage.kind.encodes or stage.inpaints,
        encodes_twice=stage.kind.encodes and stage.inpaints,
        refines=stage.kind.refines(stage.settings),
        tile_px=stage.vae_tile_px,
        text_chunks=stage.text_chunks,
        lora_numbers=sum(lora.numbers for lora in stage.loras),
        drawn=None if drawn == stage.size else (drawn.height, drawn.width),
        condition=None if stage.condition is None else stage.condition.file,
        condition_share=0.0 if stage.condition is None else stage.condition.share(stage.steps),
    )


def with_choices(stage: StagePlan, work: Work, way: Prediction, budget_bytes: int) -> StagePlan:
    """Return a stage with memory options and their prediction; the caller sets its key."""
    return dataclasses.replace(
        stage,
        choices=way.choices,
        vae_tile_px=tile_px(work, way.choices),
        calls=work.calls,
        peak_bytes=way.peak_bytes,
        seconds=way.seconds,
        fits=way.peak_bytes <= budget_bytes,
    )


def replanned(
    plan: CascadePlan, card: ModelCard, index: int, choices: MemoryOptions, machine: Machine | None
) -> CascadePlan:
    """Return a plan with other memory options from stage `index` on; later stages take at least these.

    Keys change where the options change the picture's bytes.
    """
    stages = list(plan.stages)
    for at in range(index, len(stages)):
        stage = stages[at]
        if not stage.samples:
            before = stages[at - 1].key if at else first_key(card)
            stages[at] = dataclasses.replace(stage, key=stage_key(before, stage))
            continue
        own = card.coding_tile_px(stage.size, stage.backbone)
        work = dataclasses.replace(work_of(stage), calls=stage.calls or stage.steps, tile_px=own)
        wanted = choices if at == index else merged(stage.choices, choices)
        changed = dataclasses.replace(stage, choices=wanted, vae_tile_px=tile_px(work, wanted), key="")
        if machine is not None and card.shapes is not None:
            way = predict(work, wanted, *drawn_with(card.shapes, machine, stage))
            changed = dataclasses.replace(changed, peak_bytes=way.peak_bytes, seconds=way.seconds)
        before = stages[at - 1].key if at else first_key(card)
        stages[at] = dataclasses.replace(changed, key=stage_key(before, changed))
    return dataclasses.replace(plan, stages=tuple(stages))


def fits_into(plan: CascadePlan, card: ModelCard, machine: Machine) -> bool:
    """Return whether a plan's stages, computed as planned, fit into the memory of a machine."""
    if card.shapes is None:
        return True
    for stage in filter(lambda stage: stage.kind.denoises, plan.stages):
        work = dataclasses.replace(work_of(stage), tile_px=card.coding_tile_px(stage.size, stage.backbone))
        way = predict(work, stage.choices, *drawn_with(card.shapes, machine, stage))
        if way.peak_bytes > machine.budget_bytes:
            return False
    return True


def _fitted(stage: StagePlan, shapes: Shapes, machine: Machine, calls: Calls | None) -> StagePlan:
    check_host_memory(stage, machine)
    work = work_of(stage, calls)
    shapes, machine = drawn_with(shapes, machine, stage)
    way = fit(work, shapes, machine) or least(work, shapes, machine)
    found = with_choices(stage, work, way, machine.budget_bytes)
    if stage.kind.encodes or way.choices != MemoryOptions() or stage.kind.refines(stage.settings):
        return found
    return dataclasses.replace(found, batch_bytes=batch_bytes(work, shapes, machine))


def redo(
    made: CascadePlan, first: int, settings: Settings, plan: Callable[[Settings], CascadePlan]
) -> Settings:
    """Return settings that keep the stages of `made` before `first` and run the others as `settings` say.

    Args:
        made: the plan of the earlier run. Its aspect and its init image stay, and its seed if `settings`
            leave it open. Its stages before `first` keep what differs as overrides, so their keys are equal.
        first: index of the first stage to run again; the target is at least its size.
        settings: for the stages from `first` on.
        plan: makes the plan of settings.

    Raises:
        BadSetting: `made` has no such stage, or `settings` cannot be planned.
    """
    if not 0 <= first < len(made.stages):
        raise BadSetting("stage", f"the run has the stages 1 to {len(made.stages)}, got {first + 1}.")
    stage_px = [stage.px for stage in made.stages]
    wanted = plan(
        dataclasses.replace(
            settings,
            target=max(_or_default(settings.target, made.settings.target), stage_px[first]),
            aspect=made.settings.aspect,
            ladder=_spliced(made.settings.ladder, settings.ladder, stage_px[: first + 1], kept=first),
            seed=_or_default(settings.seed, made.settings.seed),
            **({name: getattr(made.settings, name) for name in STARTING} if first else {}),
        )
    ).settings
    kept = [override for override in wanted.overrides if override.stage_px >= stage_px[first]]
    for stage in made.stages[:first]:
        for name in OVERRIDABLE:
            value = getattr(stage.settings, name)
            if stage.kind.takes(name) and value != getattr(wanted, name):
                kept.append(Override(stage_px=stage.px, name=name, value=value))
    return dataclasses.replace(wanted, overrides=tuple(kept))


def _spliced(made: str, asked: str, stage_px: Sequence[int], *, kept: int) -> str:
    """Return a ladder with stages of the sizes `stage_px`, and above them those of the ladder `asked`.

    Of the ladder `made` are the kinds of the first `kept` stages, of `asked` those after them.
    """
    if made == asked or not asked:
        return made
    was, wanted = (
        {int(rung.rpartition(":")[2]): rung for rung in ladder.split()} for ladder in (made, asked)
    )
    below = [(was if i < kept else wanted).get(px, str(px)) for i, px in enumerate(stage_px)]
    return " ".join([*below, *(rung for px, rung in wanted.items() if px > stage_px[-1])])


def _check_overrides(settings: Settings, card: ModelCard, stages: Sequence[tuple[StageKind, int]]) -> None:
    kinds = {px: kind for kind, px in stages}
    for override in settings.overrides:
        if override.stage_px not in card.targets:
            offered = ", ".join(map(str, card.targets))
            raise BadSetting(
                "overrides",
                f"overrides: {card.title} has stages of {offered} px, got {override.stage_px}; name one.",
            )
        if override.name == "mixer" and override.value not in card.mixers:
            have = " and ".join(card.mixers)
            raise BadSetting(
                "overrides", f"overrides: {card.title} has no {override.value} mixer here; it has {have}."
            )
        kind = kinds.get(override.stage_px, DEFAULT)
        # A kept image ignores all overrides; those of a first stage may stay for a later redraw.
        kept = kind.begins_run and not kind.denoises and override.name not in FOLLOWING_ONLY | OTHER_MODELS
        if kind.takes(override.name) or kept:
            continue
        having = [str(px) for other, px in stages if other.takes(override.name)]
        remedy = f"name {' or '.join(having)} px" if having else "leave it out"
        raise BadSetting(
            "overrides",
            f"overrides: the stage of {override.stage_px} px ({kind.name}) has no {override.name}; {remedy}.",
        )


def _or_default(value: Value | None, default: Value) -> Value:
    return default if value is None else value


def nearest_size(aspect: str, side_px: int, unit: int) -> Size:
    """Return the size nearest to an aspect such as "3:2", with about side_px² pixels.

    Both sides are multiples of `unit` px."""
    ratio = aspect_ratio(aspect)
    height = max(unit, round(side_px / math.sqrt(ratio) / unit) * unit)
    width = max(unit, round(side_px * math.sqrt(ratio) / unit) * unit)
    return Size(height, width)


def _notices(settings: Settings, card: ModelCard) -> tuple[str, ...]:
    if card.read_words is None:
        return ()
    prompts = [settings.prompt, *(o.value for o in settings.overrides if o.name == "prompt")]
    unknown: list[str] = []
    for prompt in prompts:
        known, others = card.read_words(plain_text(prompt))
        if not known:
            raise BadSetting("prompt", f"{card.title} knows no word of this prompt; {card.vocabulary_hint}.")
        unknown += (word for word in others if word not in unknown)
    if not unknown:
        return ()
    shown = ", ".join(f"‘{word[:24]}’" for word in unknown[:4]) + (" …" if len(unknown) > 4 else "")
    return (f"{card.title} does not know {shown}; {card.vocabulary_hint}.",)
