"""What the person asks for: one frozen record, with every range, step and default standing here once.

Knows nothing of torch, of any particular model, or of the page. `None` means "decide for me" and is
resolved by `gspn_core.planning.plan.make_plan` from the model's card.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from gspn_core.errors import BadSetting
from gspn_core.setting_values import (
    Range,
    aspect_ratio,
    check_text,
    checked_number,
    ladder_text,
    start_size,
)

Mixer = Literal["gspn", "attention", "neighborhood", "linear"]
SchedulerName = Literal[
    "euler",
    "euler-karras",
    "dpm++2m",
    "dpm++2m-karras",
    "dpm++2m-sde",
    "dpm++2m-sde-karras",
    "unipc",
    "ddim",
]
DilationScope = Literal["down", "deep", "all"]
DilationUse = Literal["branch", "main"]
RefinerUse = Literal["none", "ensemble", "image"]

# Every setting of every stage fits, with prompts of their own.
MAX_OVERRIDES_CHARACTERS = 100_000
MAX_OVERRIDES = 300
_MOST_DIGITS = 64
MAX_SEED = 2**32 - 1
_IN_QUOTES = re.compile(r'["\\\n]')


@dataclass(frozen=True, kw_only=True, order=True)
class Override:
    """One stage's own value of a setting. stage_px: the stage, given as a target in px."""

    stage_px: int
    name: str
    value: Any


def _ranged(
    default: float | None, minimum: float, maximum: float, step: float, stops: tuple[float, ...] = ()
) -> Any:
    bounds = Range(minimum=minimum, maximum=maximum, step=step, stops=stops)
    return field(default=default, metadata={"range": bounds})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run of the cascade as a person asks for it. What is None is the model's own, a seed is drawn.

    start: the picture that the cascade starts from, as `gspn_core.images.load.reference_of` names it by its
    size and its pixels' hash; "" starts from noise. Its aspect takes the place of `aspect`. start_px: the
    target of the stage at which it enters, 0 for the nearest to its size. start_strength: share of the
    timesteps that the model redraws of it there, 0 keeps it as it is.
    target: side in px of the square with the last stage's area; aspect: "width:height".
    guidance_stop: share of a stage's steps after which guidance is off; 1 keeps it on to the end.
    ladder: the sizes in px of the stages between the first and the target, such as "1024 4096"; "" takes the
    model's own. A stage's kind may stand before its size, and then the target's too: "1024 upscale:4096".
    upscale_strength: noise level at which a later stage starts, as a share of the training timesteps, in
    (0, 1]; it also takes that share of num_inference_steps.
    gaussian_sigma: width of the low-pass that parts layout from detail, in px of the base. What is coarser
    is held to the stage before; the dilated branch's input is blurred by as much.
    cosine_scale_1..3: exponents of the skip residual's, the dilated branch's and the blur's decay.
    keep_base: share of the stage before that is restored below the low-pass in the finished image; 0 leaves
    the image as it was decoded.
    dilated_min_weight: the dilated branch is not evaluated where its weight is below this.
    dilation_scope: which convolutions are dilated: "down" the down blocks' and the middle's, "deep" the last
    down block's, those of the downsampler before it and the middle's, "all" every block's. dilation_use:
    "branch" mixes a second, dilated prediction in, "main" dilates the only one; dilation_until: share of the
    steps, the first ones, in which either happens.
    original_scale, target_scale: the sizes that the model is conditioned on, as parts of the picture's own;
    crop_top, crop_left: the crop that it is conditioned on, in px (SDXL's size conditioning).
    refiner: how SDXL's second UNet takes part in the first stage: "ensemble" takes the schedule over where
    refiner_start of it is done, "image" draws the finished picture's last part again. aesthetic_score and
    negative_aesthetic_score: what the refiner is conditioned on for the wanted and the unwanted picture.
    overrides: single stages' own values, sorted; given as Overrides, as mappings of their fields, or as text
    (see `parse_overrides`). Any setting of a single stage may be overridden (OVERRIDABLE).

    Raises BadSetting (UnsupportedSize for aspect) when a value is outside its range.
    """

    prompt: str
    negative_prompt: str = ""
    target: int | None = _ranged(None, 64, 16384, 1)
    aspect: str = "1:1"
    mixer: Mixer | None = None
    num_inference_steps: int | None = _ranged(None, 1, 150, 1)
    guidance_scale: float | None = _ranged(None, 1.0, 20.0, 0.1)
    guidance_stop: float = _ranged(1.0, 0.0, 1.0, 0.05)
    ladder: str = ""
    upscale_strength: float | None = _ranged(None, 0.02, 1.0, 0.01, (0.02, 0.35, 0.6, 0.8, 1.0))
    gaussian_sigma: float = _ranged(0.2, 0.0, 6.0, 0.05, (0.0, 0.5, 1.0, 2.0, 6.0))
    cosine_scale_1: float = _ranged(0.0, 0.0, 3.0, 0.05, (0.0, 0.2, 0.55, 1.1, 3.0))
    cosine_scale_2: float = _ranged(3.0, 0.0, 3.0, 0.05, (0.0, 0.15, 0.35, 0.7, 3.0))
    cosine_scale_3: float = _ranged(0.0, 0.0, 3.0, 0.05, (0.0, 0.7, 1.35, 2.0, 3.0))
    keep_base: float = _ranged(1.0, 0.0, 1.0, 0.05)
    dilated_min_weight: float = _ranged(0.05, 0.0, 1.0, 0.01)
    dilation_scope: DilationScope = "down"
    dilation_use: DilationUse = "branch"
    dilation_until: float = _ranged(1.0, 0.0, 1.0, 0.05)
    scheduler: SchedulerName | None = None
    original_scale: float = _ranged(1.0, 0.1, 4.0, 0.05)
    target_scale: float = _ranged(1.0, 0.1, 4.0, 0.05)
    crop_top: int = _ranged(0, 0, 2048, 8)
    crop_left: int = _ranged(0, 0, 2048, 8)
    refiner: RefinerUse = "none"
    refiner_start: float = _ranged(0.8, 0.05, 0.98, 0.01)
    aesthetic_score: float = _ranged(6.0, 0.0, 10.0, 0.1)
    negative_aesthetic_score: float = _ranged(2.5, 0.0, 10.0, 0.1)
    seed: int | None = _ranged(None, 0, MAX_SEED, 1)
    overrides: tuple[Override, ...] = ()
    start: str = ""
    start_px: int = _ranged(0, 0, 16384, 1)
    start_strength: float = _ranged(0.0, 0.0, 1.0, 0.01)

    def __post_init__(self) -> None:
        check_text("prompt", self.prompt, required=True)
        check_text("negative_prompt", self.negative_prompt, required=False)
        if self.start != "":
            start_size(self.start)
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices and not (value is None and name in _OPTIONAL):
                got = str(value)[:40]
                raise BadSetting(name, f"{name} must be one of {', '.join(choices)}, got {got!r}.")
        for name, bounds in RANGES.items():
            value = checked_number(
                name, getattr(self, name), bounds, integer=name in INTEGERS, optional=name in _OPTIONAL
            )
            object.__setattr__(self, name, value)
        aspect_ratio(self.aspect)
        object.__setattr__(self, "ladder", ladder_text(self.ladder, RANGES["target"]))
        object.__setattr__(self, "overrides", self._checked_overrides())

    def at_stage(self, stage_px: int) -> Settings:
        """Return the settings as one stage reads them: its overrides in place, and no others."""
        own = {override.name: override.value for override in self.overrides if override.stage_px == stage_px}
        return dataclasses.replace(self, overrides=(), **own)

    def _checked_overrides(self) -> tuple[Override, ...]:
        """Return the overrides sorted, each value checked as the setting itself would be."""
        found: dict[tuple[int, str], Override] = {}
        for given in _read_overrides(self.overrides):
            name = given.name
            if name not in OVERRIDABLE:
                raise BadSetting(
                    "overrides", f"overrides: {str(name)[:40]!r} cannot be overridden; {_meant(str(name))}"
                )
            bounds = RANGES["target"]
            stage_px = checked_number("overrides", given.stage_px, bounds, integer=True, optional=False)
            if stage_px is None or given.value is None:
                raise BadSetting("overrides", f"overrides: {name} of {stage_px} px has no value; give one.")
            try:
                value = getattr(dataclasses.replace(self, overrides=(), **{name: given.value}), name)
            except BadSetting as refusal:
                raise BadSetting("overrides", f"overrides: at {stage_px} px, {refusal}") from None
            if (stage_px, name) in found:
                raise BadSetting("overrides", f"overrides: {stage_px}.{name} is given twice; keep one.")
            found[stage_px, name] = Override(stage_px=stage_px, name=name, value=value)
        return tuple(found[key] for key in sorted(found))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready names and values."""
        return {**dataclasses.asdict(self), "overrides": list(map(dataclasses.asdict, self.overrides))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Return settings from names and values; raise BadSetting for a name that is not a setting."""
        unknown = sorted(set(values) - set(FIELD_NAMES))
        if unknown:
            raise BadSetting(
                unknown[0], f"{unknown[0]!s:.40} is not a setting; the settings are {', '.join(FIELD_NAMES)}."
            )
        if "prompt" not in values:
            raise BadSetting("prompt", "prompt is missing; say what the picture should show.")
        return cls(**values)


FIELD_NAMES: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(Settings))
RANGES: Mapping[str, Range] = MappingProxyType(
    {f.name: f.metadata["range"] for f in dataclasses.fields(Settings) if "range" in f.metadata}
)
CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mixer": get_args(Mixer),
        "scheduler": get_args(SchedulerName),
        "dilation_scope": get_args(DilationScope),
        "dilation_use": get_args(DilationUse),
        "refiner": get_args(RefinerUse),
    }
)
INTEGERS = frozenset({"target", "start_px", "num_inference_steps", "seed", "crop_top", "crop_left"})
_OPTIONAL = frozenset(f.name for f in dataclasses.fields(Settings) if f.default is None)
# What says of a run from which picture it starts, and how.
STARTING = ("start", "start_px", "start_strength")
_OF_THE_WHOLE = (*STARTING, "target", "aspect", "ladder", "overrides")
OVERRIDABLE: tuple[str, ...] = tuple(name for name in FIELD_NAMES if name not in _OF_THE_WHOLE)


def parse_overrides(text: str) -> tuple[Override, ...]:
    """Return the overrides of a text, one such as "1024.upscale_strength=0.3" a line; raise BadSetting.

    Values are read as their settings' kind and not yet checked. Semicolons part lines too; a value that holds
    one, or a line break, stands in quotes as in JSON.
    """
    if len(text) > MAX_OVERRIDES_CHARACTERS:
        raise BadSetting(
            "overrides",
            f"overrides has {len(text):,} characters, at most {MAX_OVERRIDES_CHARACTERS:,} fit; "
            "leave some out.",
        )
    lines = [line for line in map(str.strip, _lines(text)) if line]
    _check_count(len(lines))
    found = []
    for line in lines:
        match = re.fullmatch(r"([0-9]{1,9})\s*\.\s*([a-z0-9_]+)\s*=\s*(.*)", line)
        if not match:
            raise BadSetting(
                "overrides",
                f"overrides must look like 1024.upscale_strength=0.3, one a line, got {line[:40]!r}.",
            )
        stage_px, name, value = match.groups()
        found.append(Override(stage_px=int(stage_px), name=name, value=read_value(name, value)))
    return tuple(found)


def overrides_text(overrides: Sequence[Override | Mapping[str, Any]]) -> str:
    """Return the text of which `parse_overrides` makes these overrides again."""
    lines = []
    for override in _read_overrides(overrides):
        lines.append(f"{override.stage_px}.{override.name}={_shown_value(override.value)}")
    return "\n".join(lines)


def _lines(text: str) -> list[str]:
    """Return the parts between line breaks and semicolons that stand outside quotes, in one pass."""
    parts, start, closed_at, is_open = [], 0, -1, False
    for mark in re.finditer(r'[\n;"]', text):
        at = mark.start()
        if at <= closed_at:
            continue
        if mark[0] != '"':
            parts.append(text[start:at])
            start, is_open = at + 1, is_open and mark[0] == ";"
        elif not is_open:
            closed_at = _closing_quote(text, at)
            # Where one quote of a line is not closed, no later one is: all that follow it are escaped.
            is_open = closed_at < 0
    return [part for part in (*parts, text[start:]) if part]


def _closing_quote(text: str, opening: int) -> int:
    """Return where a quoted text ends, -1 where its line ends first."""
    at = opening + 1
    while (mark := _IN_QUOTES.search(text, at)) is not None:
        if mark[0] == '"':
            return mark.start()
        at = mark.end() + 1
        if mark[0] == "\n" or text[mark.end() : at] in ("", "\n"):
            return -1
    return -1


def _shown_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.12g}"
    text = str(value)
    plain = re.fullmatch(r'[^\s";][^\n\r";]*', text) and text == text.strip()
    return text if plain else json.dumps(text, ensure_ascii=False)


def read_value(name: str, text: str) -> Any:
    """Return a setting's value from text, as its kind: a number where it has a range; unchecked."""
    if name not in RANGES:
        try:
            return json.loads(text) if text.startswith('"') else text
        except ValueError:
            return text
    try:
        number = float(text) if len(text) <= _MOST_DIGITS else None
    except ValueError:
        return text
    if number is None:
        return text
    return int(number) if name in INTEGERS and number.is_integer() else number


def _meant(name: str) -> str:
    """Return what may have been meant by a name that is not a setting of single stages."""
    near = difflib.get_close_matches(name[:40], OVERRIDABLE, n=2, cutoff=0.5)
    if not near:
        return "name a setting of single stages, such as seed, mixer or upscale_strength."
    return f"did you mean {' or '.join(near)}?"


def _read_overrides(given: Any) -> tuple[Override, ...]:
    if isinstance(given, str):
        return parse_overrides(given)
    if isinstance(given, Sequence):
        _check_count(len(given))
    try:
        return tuple(o if isinstance(o, Override) else Override(**o) for o in given)
    except TypeError:
        raise BadSetting(
            "overrides", "overrides must be a list with a stage_px, a name and a value each; see the help."
        ) from None


def _check_count(count: int) -> None:
    if count > MAX_OVERRIDES:
        raise BadSetting(
            "overrides", f"overrides has {count:,} values, at most {MAX_OVERRIDES} fit; leave some out."
        )
