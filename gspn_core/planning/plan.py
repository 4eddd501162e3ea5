"""From settings to a plan: sizes, steps, tiles. Pure arithmetic, without torch.

Every `None` of the settings is resolved here from the model's card.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

from gspn_core.errors import BadSetting, OverBudget, UnsupportedSize
from gspn_core.kinds.kind import StageKind
from gspn_core.kinds.registry import DEFAULT, FOLLOWING_ONLY, find_kind, first_kind, following_kinds
from gspn_core.planning.costs import Prediction, Work, predict, tile_px
from gspn_core.planning.fitting import fit, least, merged
from gspn_core.planning.init_image import effective_aspect, first_target
from gspn_core.planning.keys import first_key, stage_key
from gspn_core.planning.types import CascadePlan, Machine, MemoryOptions, ModelCard, Shapes, Size, StagePlan
from gspn_core.setting_values import aspect_ratio, ladder_rungs
from gspn_core.settings import MAX_SEED, OVERRIDABLE, STARTING, Override, Settings

Value = TypeVar("Value")
Calls = Callable[["StagePlan"], float]


def make_plan(
    settings: Settings, card: ModelCard, machine: Machine | None = None, calls: Calls | None = None
) -> CascadePlan:
    """Make the plan of a run.

    Args:
        settings: what was asked for; a seed of None is drawn here, so that the plan and the picture's
            metadata can repeat the run.
        card: of the model.
        machine: where the run will be computed. With it, memory (bytes) and time (seconds) of each stage are
            predicted, and each gets the fastest memory options that fit.
        calls: returns how often a stage evaluates the UNet; None counts one evaluation per step.

    Returns:
        The plan. A stage that does not fit into memory is marked: see `CascadePlan.too_large`.

    Raises:
        BadSetting: the model cannot run these settings; the message has the reason.
    """
    resolved, first_px = _resolved(settings, card)
    ladder = rungs(resolved, card, first_px, resolved.target)
    _check_overrides(resolved, card, ladder)
    stages: list[StagePlan] = []
    for kind, stage_px in ladder:
        stage = _sized(resolved, card, stages, kind, stage_px, first_px)
        if not kind.denoises:
            stage = dataclasses.replace(stage, seconds=0.0)
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
    resolved = dataclasses.replace(
        settings,
        start_px=first_px if settings.start else 0,
        target=target,
        aspect=aspect,
        ladder=settings.ladder or card.ladder,
        mixer=mixer,
        num_inference_steps=steps,
        guidance_scale=_or_default(settings.guidance_scale, card.guidance_scale),
        scheduler=_or_default(settings.scheduler, card.scheduler),
        upscale_strength=strength,
        seed=_or_default(settings.seed, secrets.randbelow(MAX_SEED + 1)),
    )
    if settings.upscale_strength is None:
        resolved = dataclasses.replace(resolved, overrides=_with_strengths(resolved, card, first_px))
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
    base = nearest_size(resolved.aspect, first_px, card.size_multiple)
    size, own = base.scaled(stage_px // first_px), resolved.at_stage(stage_px)
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
        vae_tile_px=_card_tile_px(card, size),
        settings=own,
    )


def _card_tile_px(card: ModelCard, size: Size) -> int | None:
    """Return the side in px of the autoencoder's tiles at a size, None if it needs no tiles."""
    return card.vae_tile_px if max(size.height, size.width) > card.vae_tile_px else None


def _with_strengths(settings: Settings, card: ModelCard, first_px: int) -> tuple[Override, ...]:
    """Return a run's overrides plus the strengths that the model's card sets for single later stages."""
    asked = {(override.stage_px, override.name) for override in settings.overrides}
    kinds = {px: kind for kind, px in rungs(settings, card, first_px, settings.target)}
    own = [
        Override(stage_px=px, name="upscale_strength", value=strength)
        for px, strength in card.upscale_strengths
        if px in card.targets
        and px > first_px
        and (px, "upscale_strength") not in asked
        and kinds.get(px, DEFAULT).takes("upscale_strength")
    ]
    return (*settings.overrides, *own)


def rungs(
    settings: Settings, card: ModelCard, first_px: int, target: int
) -> tuple[tuple[StageKind, int], ...]:
    """Return the kind and the side in px of each stage of a run, from first_px to target; raise BadSetting.

    Sizes of `settings.ladder` that are not between first_px and target are left out.
    """
    asked = ladder_rungs(settings.ladder) if settings.ladder else tuple(("", px) for px in card.targets)
    for name, px in asked:
        if px not in card.targets:
            offered = ", ".join(map(str, card.targets))
            raise BadSetting(
                "ladder", f"ladder: {card.title} has stages of {offered} px, got {px}; name these."
            )
        if name and name not in following_kinds():
            offered = ", ".join(following_kinds())
            raise BadSetting(
                "ladder", f"ladder: {name} is not a valid kind of stage here; there are: {offered}."
            )
    kinds = {px: find_kind(name) if name else DEFAULT for name, px in asked}
    above = {*(px for px in kinds if first_px < px < target), *({target} if target > first_px else ())}
    stages = [(first_kind(settings), first_px), *((kinds.get(px, DEFAULT), px) for px in sorted(above))]
    for (_, before_px), (kind, px) in itertools.pairwise(stages):
        if kind.ratios is not None and px // before_px not in kind.ratios:
            ratios = " or ".join(map(str, sorted(kind.ratios)))
            raise BadSetting(
                "ladder",
                f"ladder: a stage of kind {kind.name} is {ratios} times as large as the one before, got "
                f"{px} px after {before_px}; put {px // min(kind.ratios)} before it.",
            )
    return tuple(stages)


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
    pairs = pair_calls(stage.steps, stage.guided_steps) if calls is None else calls(stage)
    rows = 2 if stage.guided_steps else 1
    return Work(
        height=stage.size.height,
        width=stage.size.width,
        mixer=stage.settings.mixer,
        calls=pairs * 2 / rows,
        rows=rows,
        has_reference=stage.kind.encodes,
        refines=stage.kind.refines(stage.settings),
        tile_px=stage.vae_tile_px,
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
        if not stage.kind.denoises:
            before = stages[at - 1].key if at else first_key(card)
            stages[at] = dataclasses.replace(stage, key=stage_key(before, stage))
            continue
        own = _card_tile_px(card, stage.size)
        work = dataclasses.replace(work_of(stage), calls=stage.calls or stage.steps, tile_px=own)
        wanted = choices if at == index else merged(stage.choices, choices)
        changed = dataclasses.replace(stage, choices=wanted, vae_tile_px=tile_px(work, wanted), key="")
        if machine is not None and card.shapes is not None:
            way = predict(work, wanted, card.shapes, machine)
            changed = dataclasses.replace(changed, peak_bytes=way.peak_bytes, seconds=way.seconds)
        before = stages[at - 1].key if at else first_key(card)
        stages[at] = dataclasses.replace(changed, key=stage_key(before, changed))
    return dataclasses.replace(plan, stages=tuple(stages))


def _fitted(stage: StagePlan, shapes: Shapes, machine: Machine, calls: Calls | None) -> StagePlan:
    work = work_of(stage, calls)
    way = fit(work, shapes, machine) or least(work, shapes, machine)
    return with_choices(stage, work, way, machine.budget_bytes)


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
        kept = kind.begins_run and not kind.denoises and override.name not in FOLLOWING_ONLY
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


def pair_calls(steps: int, guided_steps: int, dilated: Sequence[bool] = ()) -> float:
    """Return how many evaluations of the UNet on the guidance pair a stage's first `steps` steps take.

    dilated: whether each step also evaluates the dilated branch; missing entries are False. Steps after the
    guided ones run half of the pair and count half.
    """
    branches = (1 + (i < len(dilated) and dilated[i]) for i in range(steps))
    return sum(count * (1.0 if i < guided_steps else 0.5) for i, count in enumerate(branches))


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
        known, others = card.read_words(prompt)
        if not known:
            raise BadSetting("prompt", f"{card.title} knows no word of this prompt; {card.vocabulary_hint}.")
        unknown += (word for word in others if word not in unknown)
    if not unknown:
        return ()
    shown = ", ".join(f"‘{word[:24]}’" for word in unknown[:4]) + (" …" if len(unknown) > 4 else "")
    return (f"{card.title} does not know {shown}; {card.vocabulary_hint}.",)
