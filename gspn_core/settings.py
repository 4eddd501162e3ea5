"""The settings of a run: one frozen record, and the only place of every range, step and default.

Independent of torch, of any particular model and of the page. `None` means "decide for me" and is resolved by
`gspn_core.planning.plan.make_plan` from the model's card.
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
from gspn_core.extension import parse_extension
from gspn_core.lora.text import loras_text, parse_loras
from gspn_core.region import parse_region
from gspn_core.setting_values import (
    Range,
    aspect_ratio,
    check_text,
    checked_number,
    ladder_text,
    override_lines,
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
    "lcm",
    "tcd",
]
DilationScope = Literal["down", "deep", "all"]
DilationUse = Literal["branch", "main"]
RefinerUse = Literal["none", "ensemble", "image"]
# What a picture that a network of several conditions reads may show, in the order of its own numbers.
ControlType = Literal["openpose", "depth", "scribble", "canny", "normal", "segment", "tile", "repaint"]

# Enough for every setting of every stage, including prompts.
MAX_OVERRIDES_CHARACTERS = 100_000
MAX_OVERRIDES = 300
_MOST_DIGITS = 64
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True, order=True)
class Override:
    """A setting's value for one stage. stage_px: the stage, as a target in px."""

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
    """What to draw. `None` takes the model's default; an open seed is drawn.

    Args:
        prompt: what the picture shows.
        negative_prompt: what it should not show.
        target: side in px of the square with the area of the last stage.
        aspect: "width:height".
        mixer: token mixer of the UNet.
        num_inference_steps: timesteps of the schedule.
        guidance_scale: classifier-free guidance (CFG) scale.
        guidance_stop: share of a stage's steps after which guidance is off; 1 keeps it on.
        ladder: sizes in px of the stages from the first to the target, such as "1024 4096"; "" takes the
            model's default. A kind can precede a size, that of the target too: "1024 upscale:4096".
        upscale_strength: noise level at which a later stage starts, as a share of the training timesteps,
            in (0, 1]; the stage also runs that share of num_inference_steps.
        gaussian_sigma: width of the low-pass that separates layout from detail, in px of the base. Coarser
            structures follow the stage before; the dilated branch's input is blurred by as much.
        cosine_scale_1: exponent of the decay of the skip residual; 2 of the dilated branch, 3 of the blur.
        keep_base: share of the stage before that is restored below the low-pass in the finished image.
        dilated_min_weight: the dilated branch is skipped where its weight is below this.
        dilation_scope: the dilated convolutions: "down" those of the down blocks and the middle block, "deep"
            those of the last down block, the downsampler before it and the middle block, "all" every block's.
        dilation_use: "branch" mixes in a second, dilated prediction; "main" dilates the only one.
        dilation_until: share of the first steps in which either is used.
        tile_share: share of its tiles that a stage of kind "tiles" redraws, those with most detail first.
        scheduler: sampler.
        original_scale: original size that the model is conditioned on, over the picture's size; target_scale:
            likewise the target size (SDXL's size conditioning).
        crop_top: crop in px that the model is conditioned on; likewise crop_left.
        refiner: the refiner's part in the first stage: "ensemble" takes over the schedule once refiner_start
            of it is done, "image" redraws the last part of the finished picture.
        refiner_start: share of the schedule at which the refiner starts.
        aesthetic_score: conditioning of the refiner; negative_aesthetic_score: of its unconditional row.
        seed: of all noise.
        overrides: settings of single stages (any of OVERRIDABLE), sorted; given as Overrides, as mappings of
            their fields, or as text (see `parse_overrides`).
        start: reference of the init image (see `gspn_core.images.load.reference_of`), whose aspect replaces
            `aspect`; "" starts from noise.
        start_px: target of the stage at which the init image enters, 0 for the nearest to its size.
        start_strength: denoising strength there; 0 keeps the image.
        region: the part of the init image that is redrawn (see `gspn_core.region`); "" redraws all of it.
        region_feather: px over which the redrawn part fades in from the region's edge.
        extend: what is added at the sides of the init image and drawn (see `gspn_core.extension`).
        variation_seed: another seed, towards whose noise the first stage's starting noise is moved.
        variation_strength: by how much: 0 leaves it as it is, at 1 it is that of variation_seed.
        upscaler: the upscaler model of stages of kind esrgan, by its file's name; "" takes the first.
        noise_level: of the small picture that the x4 upscaler reads, in timesteps of its schedule.
        loras: LoRA files with their weights, such as "ink:0.8, snow:0.5" (see `gspn_core.lora.text`); the
            prompt's tags, <lora:ink:0.8>, are added to them.
        control: the ControlNet or T2I-Adapter that steers the UNet, by its folder's name; "" for none.
        control_type: what its picture shows, for a ControlNet that was trained on several kinds.
        control_image: reference of the picture that it reads, as `start`.
        control_scale: what its residuals are multiplied by; 0 is none.
        control_start: share of a stage's steps after which it takes part, control_end: up to which.
        freeu_b1: what half of the channels of the UNet's first up block are multiplied by, freeu_b2: of its
            second (FreeU, 2309.11497).
        freeu_s1: what the lowest frequencies of the first up block's skip tensors are multiplied by,
            freeu_s2: of the second's. With all four at 1 there is none.

    Raises:
        BadSetting: a value is outside its range; UnsupportedSize for aspect.
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
    tile_share: float = _ranged(0.5, 0.0, 1.0, 0.05)
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
    region: str = ""
    region_feather: float = _ranged(16.0, 0.0, 256.0, 1.0)
    extend: str = ""
    variation_seed: int = _ranged(0, 0, MAX_SEED, 1)
    variation_strength: float = _ranged(0.0, 0.0, 1.0, 0.01)
    upscaler: str = ""
    noise_level: int = _ranged(20, 0, 350, 1)
    loras: str = ""
    control: str = ""
    control_type: ControlType = "canny"
    control_image: str = ""
    control_scale: float = _ranged(1.0, 0.0, 2.0, 0.05)
    control_start: float = _ranged(0.0, 0.0, 1.0, 0.01)
    control_end: float = _ranged(1.0, 0.0, 1.0, 0.01)
    freeu_b1: float = _ranged(1.0, 1.0, 1.6, 0.05)
    freeu_b2: float = _ranged(1.0, 1.0, 1.6, 0.05)
    freeu_s1: float = _ranged(1.0, 0.0, 1.0, 0.05)
    freeu_s2: float = _ranged(1.0, 0.0, 1.0, 0.05)

    def __post_init__(self) -> None:
        check_text("prompt", self.prompt, required=True)
        check_text("negative_prompt", self.negative_prompt, required=False)
        check_text("upscaler", self.upscaler, required=False)
        check_text("control", self.control, required=False)
        for name in ("start", "control_image"):
            if getattr(self, name) != "":
                start_size(getattr(self, name), name)
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
        region = parse_region(self.region)
        object.__setattr__(self, "region", "" if region is None else str(region))
        extension = parse_extension(self.extend)
        object.__setattr__(self, "extend", "" if extension is None else str(extension))
        object.__setattr__(self, "loras", loras_text(parse_loras(self.loras)))
        object.__setattr__(self, "ladder", ladder_text(self.ladder, RANGES["target"]))
        object.__setattr__(self, "overrides", self._checked_overrides())

    def at_stage(self, stage_px: int) -> Settings:
        """Return the settings of one stage: its overrides applied, and no others left."""
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
        "control_type": get_args(ControlType),
    }
)
INTEGERS = frozenset(
    {
        "target",
        "start_px",
        "num_inference_steps",
        "seed",
        "variation_seed",
        "crop_top",
        "crop_left",
        "noise_level",
    }
)
SEEDS = frozenset({"seed", "variation_seed"})
_OPTIONAL = frozenset(f.name for f in dataclasses.fields(Settings) if f.default is None)
# The settings of the init image.
STARTING = ("start", "start_px", "start_strength", "region", "region_feather", "extend")
# Those that name a picture which was handed in.
PICTURES = ("start", "control_image")
_OF_THE_WHOLE = (*STARTING, "control_image", "target", "aspect", "ladder", "overrides")
OVERRIDABLE: tuple[str, ...] = tuple(name for name in FIELD_NAMES if name not in _OF_THE_WHOLE)


def parse_overrides(text: str) -> tuple[Override, ...]:
    """Parse overrides, one per line, such as "1024.upscale_strength=0.3"; raise BadSetting.

    Values are read as their settings' kind and not yet checked. Semicolons part lines too; a value that holds
    one, or a line break, stands in quotes as in JSON.
    """
    if len(text) > MAX_OVERRIDES_CHARACTERS:
        raise BadSetting(
            "overrides",
            f"overrides has {len(text):,} characters, at most {MAX_OVERRIDES_CHARACTERS:,} fit; "
            "leave some out.",
        )
    lines = [line for line in map(str.strip, override_lines(text)) if line]
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
    """Return these overrides as text for `parse_overrides`."""
    lines = []
    for override in _read_overrides(overrides):
        lines.append(f"{override.stage_px}.{override.name}={_shown_value(override.value)}")
    return "\n".join(lines)


def _shown_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.12g}"
    text = str(value)
    plain = re.fullmatch(r'[^\s";][^\n\r";]*', text) and text == text.strip()
    return text if plain else json.dumps(text, ensure_ascii=False)


def read_value(name: str, text: str) -> Any:
    """Parse a setting's value: a number if it has a range, else text; not checked."""
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
    """Return a likely intended name for one that is not a setting of single stages."""
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
