"""The form: examples, the curves and crops of its sliders, pictures dropped or started from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ui.shared.strings import units

START_NEAREST = "Auto"

START_GONE = "This image is no longer kept here; choose it again."

MORE = "Advanced"

EXAMPLE = "Next example"

RUN_BOTH = "Run both"

SEED_RANDOM = "Random"

SEED_REUSE = "Last seed"

# What the words of the embedded model's vocabulary name.
FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "cover": "Cover",
        "terrain": "Land",
        "foreground": "In front",
        "time": "Time of day",
        "sky": "Sky",
        "celestial": "Sun and moon",
        "weather": "Weather",
        "object": "Objects",
        "palette": "Colors",
    }
)

VOCABULARY = "Known words"

VOCABULARY_TITLE = "Words this model knows; a press puts one into the prompt"

# By the name in `ui.form.presets`.
PRESETS: Mapping[str, str] = MappingProxyType({"draft": "Draft", "balanced": "Balanced", "fine": "Fine"})

PRESETS_OF = "Quality"

DROP: Mapping[str, str] = MappingProxyType(
    {
        "drop_open": "Load settings from an image…",
        "drop_here": "Drop to load its settings, or to use it as init image",
        "drop_hint": "Drop an image of this studio or of another tool anywhere, paste it, or choose it. "
        "A PNG's pixels are not uploaded; other files are deleted once read.",
        "drop_start": "Use as init image",
        "drop_undo": "Undo",
        "drop_reproduce": "Reproduce",
        "drop_close": "Close",
        "drop_unreadable": "The file cannot be read; choose it again.",
        "drop_busy": "Another run is using the device. Stop it or wait, then reproduce.",
        "drop_too_large": "Not compared byte for byte: the file is too large or this address is not secure.",
    }
)

START: Mapping[str, str] = MappingProxyType(
    {
        "start_open": "Init image (img2img)…",
        "start_hint": "Drop an image anywhere, paste it, or choose it. The cascade upscales it.",
        "start_busy": "Reading the image…",
        "start_set": "Init image",
        "start_alt": "The init image",
        "start_change": "Change",
        "start_remove": "Remove",
        "start_too_large": "{name} is larger than 32 MiB; save it as a smaller JPEG.",
        "start_unsent": "The image did not arrive; choose it again.",
        "region_open": "Redraw a region…",
        "region_title": "What is to be redrawn?",
        "region_canvas": "The region. Arrow keys move a mark, Space paints there, Ctrl+Z undoes.",
        "region_brush": "Brush",
        "region_box": "Box",
        "region_size": "Size",
        "region_outside": "Redraw all but this",
        "region_undo": "Undo",
        "region_clear": "Clear",
        "region_cancel": "Cancel",
        "region_done": "Use this region",
        "extend_open": "Extend…",
        "extend_title": "What is to be added at the sides?",
        "extend_hint": "Percent of the image's width or height. The image itself keeps its size.",
        "extend_left": "Left",
        "extend_right": "Right",
        "extend_top": "Top",
        "extend_bottom": "Bottom",
        "extend_grows": "{before} becomes about {after} px",
        "extend_too_long": "Longer than 4:1; add less.",
        "extend_done": "Extend",
    }
)

COUNTS = "Tokens"
LORAS: Mapping[str, str] = MappingProxyType(
    {
        "loras_title": "LoRA files; a press adds one or takes it out",
        "loras_weight": "Weight of {name}",
        "loras_refresh": "Look again",
    }
)

DROP_NAMELESS = "picture"

DROP_SAME = "Reproduced: identical, byte for byte."

DROP_SAME_REUSED = "Identical: taken from the cache, byte for byte."

DROP_DIFFERS = (
    "Not identical: another machine, version or model made the image, it was drawn together with others, "
    "or the form was changed."
)

DROP_LOSSY = "Not compared byte for byte: only a PNG holds the pixels as they were made."

DROP_UNDONE = "Settings restored."

# What a slider does at the value at which it leaves a picture alone.
NEUTRAL: Mapping[str, str] = MappingProxyType(
    {
        "gaussian_sigma": "all held",
        "cosine_scale_1": "held",
        "cosine_scale_2": "off",
        "cosine_scale_3": "not widened",
        "guidance_scale": "off",
    }
)

# Why a setting does nothing as the others stand.
IDLE: Mapping[str, str] = MappingProxyType(
    {
        "one_stage": "No effect at one stage: choose a larger output size.",
        "one_stage_at_most": "No effect at one stage.",
        "not_denoised": "No effect: no later stage is denoised.",
        "overridden": "No effect: every later stage has a value of its own.",
        "never": "No effect while Dilate until is 0.",
        "main": "No effect: the only prediction is dilated, so there is nothing to weigh.",
        "whole": "No effect: the dilated branch has all the weight.",
        "undilated": "No effect: no step is dilated.",
        "below": "No effect: the dilated branch's weight stays below its cutoff.",
        "free": "No effect: nothing is held and no dilated branch runs.",
        "unblurred": "No effect at Blur σ 0.",
        "started_free": "No effect: the layout is not held at the first step.",
        "tiled": "No effect: tiles are not dilated.",
        "untiled": "No effect: Stage sizes names no stage tiles:….",
        "undrawn": "No effect: no tile is redrawn.",
    }
)


def tokens_counted(tokens: int, chunks: int, room: int) -> str:
    """Return how many tokens a text has, of how many that its chunks hold."""
    counted = f"{tokens:,} of {chunks * room:,} tokens"
    return counted if chunks == 1 else f"{counted}, {chunks} chunks"


def preset_does(steps: int, target: int, sampler: str, *, one_pass: bool) -> str:
    """Return what a preset sets; one_pass: a super-resolution network reaches the target."""
    reached = f"{target} px by super-resolution" if one_pass else f"{target} px"
    return f"{steps} steps, {reached}, {sampler}"


def loras_here(usable: int, unusable: int) -> str:
    """Return how many LoRA files there are for the model, and how many that cannot be used."""
    if usable and not unusable:
        return ""
    others = "1 file cannot" if unusable == 1 else f"{unusable} files cannot"
    if usable:
        return f"LoRA: {others} be used with this model."
    if unusable:
        return f"LoRA: none for this model; {others} be used with it."
    return "LoRA: no files for this model in the folder that --loras names."


def preset_taken(label: str, does: str) -> str:
    """Return what is said once a preset is in the form."""
    return f"{label}: {does}."


def picture_read(name: str, stage: int | None) -> str:
    """Return what is said once a picture's settings are in the form."""
    shown = name if len(name) <= 40 else f"{name[:37]}…"
    return f"From {shown}" + ("" if stage is None else f", stage {stage + 1}")


def imported_from(tool: str) -> str:
    """Return which tool's settings were taken over, "" where it is not known."""
    return f"Imported from {tool or 'another tool'}."


def plain_words(markup: Sequence[str]) -> str:
    """Return which of other tools' prompt syntax means nothing here."""
    return "Read as plain words here: " + ", ".join(markup) + "."


def used_as_start(name: str, made_by: str) -> str:
    """Return what is said of a picture that fills no form and becomes the init image.

    made_by: which tool made it, "" where it says nothing of it.
    """
    shown = name if len(name) <= 40 else f"{name[:37]}…"
    return f"{made_by or f'No settings found in {shown}'}; used as init image."


def not_taken(names: Sequence[str]) -> str:
    """Return what of a picture's text means nothing here."""
    return "Ignored: " + "; ".join(names)


def made_with(differing: Mapping[str, tuple[str, str]]) -> str:
    """Return what a picture was made with that is different here."""
    made = ", ".join(f"{name} {there} (here {here})" for name, (there, here) in differing.items())
    return f"Made with {made}; the result may differ."


def head_too_large(name: str, most_kib: int) -> str:
    """Return the sentence for a file with too much text next to its pixels."""
    return f"{name} has more than {most_kib} KiB next to its pixels; choose another picture."


def not_whole(name: str) -> str:
    """Return the sentence for a file whose bytes were cut off on their way."""
    return f"{name} did not arrive whole; choose it again."


def curve_strength(timestep: float, sigma: float, steps: int, count: int) -> str:
    """Return what the upscale strength decides."""
    start = f"timestep {timestep:.0f}, noise level {units.figure(sigma)}"
    return f"The last stage starts at {start}, and takes {steps} of {count} steps."


def curve_width(first: float, last: float) -> str:
    """Return what sigma decides where the layout is held."""
    if not last:
        return "At 0 all that the stage before shows is held."
    if units.figure(first) == units.figure(last):
        return f"Structures wider than {units.figure(first)} px of the base are held to the stage before."
    ends = f"{units.figure(first)} px of the base at the first step and {units.figure(last)} px at the last"
    return f"Structures are held that are wider than {ends}."


def curve_blur(first: float, last: float) -> str:
    """Return what sigma decides where only the dilated branch reads it."""
    if units.figure(first) == units.figure(last):
        return f"The dilated branch sees a blur of {units.figure(first)} px of the base."
    ends = f"{units.figure(first)} px of the base at its first step and {units.figure(last)} px at its last"
    return f"The dilated branch sees a blur of {ends}."


def curve_held(first: float, last: float) -> str:
    """Return what the first cosine scale decides."""
    ends = units.part_of(first), units.part_of(last)
    if ends[0] == ends[1]:
        return f"The layout is held by {ends[0]} at every step."
    return f"The layout is held by {ends[0]} at the first step and by {ends[1]} at the last."


def curve_dilated(first: float, last: float, least: float, dilated: int, steps: int) -> str:
    """Return what the second cosine scale and the least weight decide."""
    if not dilated:
        return f"The dilated branch is off: its weight stays below {units.figure(least)}."
    calls = "1 more UNet call" if dilated == 1 else f"{dilated} more UNet calls"
    ends = (
        units.part_of(first)
        if units.part_of(first) == units.part_of(last)
        else f"{units.part_of(first)} to {units.part_of(last)}"
    )
    return f"The dilated branch runs in {dilated} of {steps} steps, {calls}; its weight there is {ends}."


def curve_tiles(drawn: int, tiles: int, steps: int) -> str:
    """Return what the share of redrawn tiles decides."""
    calls = f"{drawn * steps} UNet calls of at most {tiles * steps}"
    return f"{drawn} of {tiles} tiles are redrawn, the most detailed ones: {calls}."


def curve_widened(first: float, last: float) -> str:
    """Return what the third cosine scale decides. first, last: how many times as wide as at scale 0."""
    if units.figure(first) == units.figure(last) == "1":
        return "The width of what is held is the same at every step."
    ends = f"{units.figure(first)} times at the first step and {units.figure(last)} times at the last"
    return f"The width of what is held grows {ends}."


def curve_fade(first: float, last: float) -> str:
    """Return what the third cosine scale decides where only the dilated branch is blurred."""
    if units.part_of(first) == units.part_of(last):
        return f"The branch's blur is {units.part_of(first)} of Blur σ at every step."
    ends = f"{units.part_of(first)} of Blur σ at its first step and {units.part_of(last)} at its last"
    return f"The branch's blur is {ends}."


def other_models(*, upscalers: bool, x4: bool) -> str:
    """Return what the field of the stage sizes says of stages that a model next to the base draws."""
    first = "esrgan:1024 takes an upscaler model" if upscalers else "esrgan needs --upscalers at the start"
    second = "x4:1024 takes the x4 upscaler" if x4 else "x4 needs --x4"
    return f"{first}, {second}."


# Of a model that has a super-resolution network.
ONE_PASS = "sr:1024 takes the model's own super-resolution network."


def crops_of(label: str) -> str:
    """Return what the crops next to a slider are, as a screen reader says it."""
    return f"What {label} does"


def crop_value(name: str, value: float, *, neutral: bool) -> str:
    """Return what stands below a crop: its value, and what that means where the slider is neutral."""
    return f"{value:g} · {NEUTRAL[name]}" if neutral else f"{value:g}"


def crop_at(label: str, value: float) -> str:
    """Return what stands for a crop: the slider and its value."""
    return f"{label} at {value:g}"


def crop_set(label: str, value: float) -> str:
    """Return what a press on a crop does."""
    return f"Set {label} to {value:g}"


def crops_drawn(prompt: str, target: int, seed: int, other: str = "") -> str:
    """Return what the crops are cut from; other: the title of the model that runs, where it is another."""
    shown = f"“{prompt}”, {target} px, seed {seed}; the other settings at default."
    return f"{shown} Generated by the embedded model, not by {other}." if other else shown
