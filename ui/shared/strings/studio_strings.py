"""The studio: the run, its stages, the live panel and what can be done next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gspn_core.events import MemoryKind
from gspn_core.runs.run import StageView
from ui.shared.strings import labels, units

RUN = "Run"

RUNNING = "Running"

QUEUED = "Queued"

STOP = "Stop"

STOP_AFTER_STAGE = "Stop after this stage"

STOPPING = "Stopping"

STOPPING_AFTER_STAGE = "Stopping after this stage"

RESUME = "Resume"

LINKED = "The settings are those of the link. Run draws them."

WATCHING = "You are watching a shared run. Run draws your own."

VARIATIONS = "Variations"

COPY_LINK = "Copy link"

COPY_SETTINGS = "Copy settings"

# What a picture is offered as besides PNG, by the ending of its file.
FORMATS: Mapping[str, str] = MappingProxyType({"webp": "WebP", "jpeg": "JPEG"})

ZIP = "All stages and settings (zip)"

FILM = "Film of the stages (WebP)"

REDO = "Re-run from this stage"

INIT_IMAGE = "Use as init image"

# What a card says of its stage besides figures, by the stage's kind.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "keep": "init image",
        "redraw": "init image, redrawn",
        "lanczos": "enlarged, not denoised",
        "sr": "super-resolution",
        "esrgan": "upscaler model",
        "x4": "x4 upscaler",
        "tiles": "redrawn in part",
    }
)

STAGE_STATES: Mapping[str, str] = MappingProxyType(
    {
        "waiting": "waiting",
        "running": "running",
        "done": "done",
        "stopped": "stopped",
        "failed": "failed",
        "interrupted": "interrupted",
    }
)

PHASES: Mapping[str, str] = MappingProxyType({"encode": "encoding", "decode": "decoding"})

HEADLINES: Mapping[str, str] = MappingProxyType(
    {
        "empty": "Ready",
        "queued": "Waiting",
        "running": "Starting",
        "done": "Done",
        "stopped": "Stopped",
        "failed": "Failed",
        "interrupted": "Interrupted",
    }
)

ROWS: Mapping[str, str] = MappingProxyType(
    {
        "step": "Step",
        "variation": "Variation",
        "peak": "Peak (this stage)",
        "highest": "{memory} (peak)",
        "queue": "Queue",
        "picture": "Image",
        "stages": "Stages",
        "steps": "Steps",
    }
)

NOTHING_DONE: Mapping[str, str] = MappingProxyType(
    {
        "queued": "Another run is using the device. Yours starts automatically.",
        "running": "Generating…",
        "stopped": "Stopped before the first stage was done.",
        "failed": "This run ended before its first stage was done.",
        "interrupted": "The server restarted before the first stage was done.",
    }
)

FINISHING = "Finishing"

REUSED = "cached"

LOST_RUN = "That run is no longer kept here; start a new one."

STOPPED_NOTICE = "Stopped. Finished stages were kept."

WAS_RESET = "All settings are as at first; prompt, seed and init image stay."

NO_SUGGESTION = "This suggestion is out of date; reload the page."

NO_SEED_YET = "There was no run yet, so there is no last seed."


def variation(seed: int | None, strength: float) -> str:
    """Return the other seed that a picture's noise was moved towards, and by how much."""
    return f"{seed} at {strength:g}"


def memory_label(kind: MemoryKind | None) -> str:
    """Return what a memory figure measures."""
    return {"device": "GPU memory", "process": "RAM", None: "Memory"}[kind]


def peak_of(count: int) -> str:
    """Return the highest memory of a run, for the line that marks it."""
    return f"peak {units.bytes_(count)}"


def weight_range(top: float) -> str:
    """Return what a curve of weights spans from bottom to top."""
    return f"0 – {top:.2g}"


def stage_headline(number: int, count: int) -> str:
    """Return which stage of how many is running."""
    return f"Stage {number} of {count}"


def step_of(step: int, steps: int) -> str:
    """Return the step of how many."""
    return f"{step} / {steps}"


def steps_of_stages(steps: Sequence[int]) -> str:
    """Return the steps of each stage, first to last."""
    return " + ".join(map(str, steps))


def stage_progress(stage: StageView) -> str:
    """Return where a running stage is: its step, or which tile of the autoencoder."""
    if stage.phase not in PHASES:
        return step_of(stage.step, stage.steps)
    tile = f" {step_of(stage.tile, stage.tiles)}" if stage.tiles else ""
    return PHASES[stage.phase] + tile


def queue_place(position: int) -> str:
    """Return a job's place in the queue; 0 is the one that has the device."""
    if position <= 0:
        return "running now"
    return "1 run ahead of yours" if position == 1 else f"{position} runs ahead of yours"


def stage_label(number: int, height: int, width: int, state: str, lines: Sequence[str] = ()) -> str:
    """Return what a screen reader says of a stage's card: its number, what stands on it, and its state."""
    shown = " ".join((units.size(height, width), *lines))
    word = STAGE_STATES[state]
    return f"Stage {number}, {shown}" + ("" if word in lines else f", {word}")


# How a stage is computed where memory is short: fields of `gspn_core.planning.types.MemoryOptions`.
SAVINGS: Mapping[str, str] = MappingProxyType(
    {
        "residency": "weights offloaded",
        "serial_guidance": "sequential guidance",
        "chunked_feed_forward": "chunked feed-forward",
        "small_blocks": "attention slicing",
        "skips_on_host": "skip tensors on the host",
        "small_tiles": "smaller tiles",
        "float8_storage": "8-bit weights",
    }
)


def predicted(
    value: float | None, peak_bytes: int, savings: Sequence[str], *, long: bool = False
) -> list[str]:
    """Return what a stage is predicted to take, and with which savings it fits."""
    took = [] if value is None else [f"about {units.seconds(value)}" + (f", {VERY_LONG}" if long else "")]
    return [*took, f"about {units.bytes_(peak_bytes)}", *(SAVINGS[name] for name in savings)]


# What the button of a suggestion says, by the setting that it changes.
SUGGESTIONS: Mapping[str, str] = MappingProxyType(
    {
        "target": "Output size {value} instead",
        "mixer": "Use {value}",
        "dilated_min_weight": "Without the dilated branch",
        "guidance_stop": "CFG for the first half only",
        "control_scale": "Without the control",
    }
)

_MOST_CHANGED = 3

VERY_LONG = "very long"


def suggestion(name: str, value: Any) -> str:
    """Return what the button of a suggestion says."""
    return SUGGESTIONS[name].format(value=labels.choice(value))


def suggestion_takes(value: float | None, peak_bytes: int) -> str:
    """Return what a run takes with a suggestion."""
    return ", ".join(predicted(value, peak_bytes, ()))


def suggestion_taken(name: str, value: Any, before: Any) -> str:
    """Return what a suggestion changed in the form."""
    return f"{labels.quoted(name)}: {labels.choice(value)} (was {labels.choice(before)})."


def fit_issue(title: str, reason: str, lines: Sequence[str]) -> str:
    """Return next to Run why the run to come cannot be, or that it takes long."""
    return f"{title} px {'does not fit' if reason == 'memory' else 'takes long'}: {', '.join(lines)}."


def too_large(peak_bytes: int, budget_bytes: int) -> list[str]:
    """Return why a stage cannot run here."""
    return [f"needs {units.bytes_(peak_bytes)}", f"of {units.bytes_(budget_bytes)}"]


def retried(savings: Sequence[str]) -> list[str]:
    """Return with what a stage began again when memory ran out; nothing where it did not."""
    return [f"memory ran out: {', '.join(SAVINGS[name] for name in savings)}"] if savings else []


def continue_to(target: int, duration: float | None = None) -> str:
    """Return the name of the action that takes a run to a higher target, with what that takes if known."""
    named = f"Upscale to {target}"
    return named if duration is None else f"{named} · {units.seconds(duration)}"


def compare_with(height: int, width: int) -> str:
    """Return the name of the action that shows a stage next to the one before it."""
    return f"Compare with {units.size(height, width)}"


def reused(saved: float | None) -> list[str]:
    """Return what the card of a reused stage says; saved: the seconds that it would have taken."""
    return [REUSED] if saved is None else [REUSED, f"saved {units.seconds(saved)}"]


def all_cached(duration: float | None) -> list[str]:
    """Return what stands in place of the time of a run that came from the cache: a word and a remark.

    duration: the seconds that its stages took when they were drawn, None if that is not known.
    """
    return ["Cached", "" if duration is None else f"drawn in {units.seconds(duration)} before"]


def reusable(saved: float | None) -> list[str]:
    """Return what the card of a stage says before a run that will reuse it."""
    return [REUSED] if saved is None else [REUSED, f"saves {units.seconds(saved)}"]


def link_too_long(name: str, count: int, most: int) -> str:
    """Return the sentence for a setting in the address that is longer than what is read."""
    return f"{name} in the address has {count} characters, at most {most} are read; type it into the form."


def run_takes(duration: float | None, peak_bytes: int | None) -> str:
    """Return what a run of the form would take; "" while nothing is known."""
    known = [] if duration is None else [units.seconds(duration)]
    known += [] if peak_bytes is None else [units.bytes_(peak_bytes)]
    return f"About {', '.join(known)}." if known else ""


def changed(names: Sequence[str]) -> str:
    """Return which settings are not as at first, by their labels; "" for none."""
    if not names:
        return ""
    shown = [labels.LABELS[name] for name in names[:_MOST_CHANGED]]
    more = len(names) - len(shown)
    return f"Changed: {', '.join(shown)}" + (f" and {more} more" if more else "")


def ahead(sizes: Sequence[tuple[int, int]], saved: float | None, count: int) -> str:
    """Return which of `count` stages the next run would take from the cache, by their sizes; "" for none."""
    if not sizes:
        return ""
    saves = "" if saved is None else f" (saves {units.seconds(saved)})"
    if 1 < count == len(sizes):
        return f"Nothing changed. Run returns the cached images{saves}."
    named = _listed([units.size(*pair) for pair in sizes])
    return f"{named} {'is' if len(sizes) == 1 else 'are'} cached{saves}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def picture_alt(prompt: str, height: int, width: int) -> str:
    """Return the text that stands for a stage's picture."""
    return f"{prompt} — {units.size(height, width)} px"


def stage_announcement(number: int, count: int, duration: float | None) -> str:
    """Return what is read aloud when a stage is done; without a duration it was reused."""
    how = REUSED if duration is None else f"done in {units.seconds(duration)}"
    return f"Stage {number} of {count} {how}."


def file_name(height: int, width: int, seed: int | None) -> str:
    """Return the name under which a picture is downloaded."""
    return f"gspn-{width}x{height}" + ("" if seed is None else f"-seed-{seed}") + ".png"


def run_file_name(seed: int | None, ending: str) -> str:
    """Return the name under which what shows a whole run is downloaded."""
    return "gspn-run" + ("" if seed is None else f"-seed-{seed}") + f".{ending}"
