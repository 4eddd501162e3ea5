"""Every string on the screen, and how numbers are said. Knows nothing of gradio."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gspn_core.events import MemoryKind, ModelProgress
from gspn_core.planning.types import ModelCard
from gspn_core.runs.run import StageView
from gspn_core.studies.study import Cost

TITLE = "GSPN Studio"
SPACE_HARDWARE = (
    "On a CPU this page draws with its embedded model. SDXL needs a GPU of 24 GB: duplicate and choose one."
)
DUPLICATE = "Duplicate this Space"
RUN = "Run"
RUNNING = "Running"
QUEUED = "Queued"
STOP = "Stop"
STOP_AFTER_STAGE = "Stop after this stage"
STOPPING = "Stopping"
STOPPING_AFTER_STAGE = "Stopping after this stage"
RESUME = "Resume"
REDO = "Redo from here"
CLIMB = "Climb from this picture"
YOUR_PICTURE = "your picture"
REDRAWN = "your picture, drawn again"
START_NEAREST = "Nearest"
START_GONE = "This picture is not kept here any more; choose it again."
MORE = "More settings"
EXAMPLE = "Example"
NOISE = "noise"
SEED_RANDOM = "Random"
SEED_REUSE = "Reuse last"
LOADING_MODEL = "loading the model …"
UNKNOWN = "—"

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "Prompt",
        "negative_prompt": "Negative prompt",
        "start": "Starts from",
        "start_px": "Comes in at, px",
        "start_strength": "Redraw",
        "target": "Target, px",
        "aspect": "Aspect",
        "mixer": "Mixer",
        "num_inference_steps": "Steps",
        "guidance_scale": "Guidance",
        "guidance_stop": "Guidance until",
        "ladder": "Stage sizes",
        "upscale_strength": "Upscale denoise",
        "gaussian_sigma": "Blur σ",
        "cosine_scale_1": "Skip-residual decay",
        "cosine_scale_2": "Dilated-sampling decay",
        "cosine_scale_3": "Blur decay",
        "keep_base": "Keep base",
        "dilated_min_weight": "Dilated branch cutoff",
        "dilation_scope": "Dilated layers",
        "dilation_use": "Dilated prediction",
        "dilation_until": "Dilate until",
        "scheduler": "Scheduler",
        "original_scale": "Original size, told",
        "target_scale": "Target size, told",
        "crop_top": "Crop from the top, told",
        "crop_left": "Crop from the left, told",
        "refiner": "Refiner",
        "refiner_start": "Refiner takes over at",
        "aesthetic_score": "Aesthetic score",
        "negative_aesthetic_score": "Negative aesthetic score",
        "seed": "Seed",
        "overrides": "Single stages' own values",
    }
)

HELP: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "What the picture should show.",
        "negative_prompt": "What it should not show.",
        "start": "A picture that the cascade climbs from, in place of noise.",
        "start_px": "The stage at which the picture comes in; those above it add detail.",
        "start_strength": "Share of the steps drawn again over the picture at the first size; 0 keeps it.",
        "target": "Side of the square with the last stage's area; the stages before it lead up to it.",
        "aspect": "Width:height, any from 1:4 to 4:1.",
        "mixer": "How places see each other: by line scans, by attention to all places, or to near ones.",
        "num_inference_steps": "Steps of the first stage; later stages take a share of them.",
        "guidance_scale": "How hard the prompt pulls; 1 turns guidance off.",
        "guidance_stop": "Share of a stage's steps with guidance; those after it take half the time.",
        "ladder": "Sizes in px between the first and the last stage, e.g. 256 1024; "
        "empty takes the model's own.",
        "upscale_strength": "Noise level at which a later stage starts: higher redraws more.",
        "gaussian_sigma": "Width in px of the base above which structures are held to the stage before.",
        "cosine_scale_1": "How firmly the layout is held to the stage before: 0 holds it, larger lets go.",
        "cosine_scale_2": "How fast the dilated branch fades: 0 gives it all the weight, 3 turns it off.",
        "cosine_scale_3": "How far the held layout widens to coarse structures only; 0 widens nothing.",
        "keep_base": "Share of the stage before that is restored in the finished image, at its own scale.",
        "dilated_min_weight": "Below this weight the dilated branch is left out, which saves time.",
        "dilation_scope": "Which convolutions are dilated: the down blocks', the deepest ones, or all.",
        "dilation_use": "A second, dilated prediction is mixed in, or the only one is dilated.",
        "dilation_until": "Share of a later stage's steps, the first ones, in which the UNet is dilated.",
        "scheduler": "What walks the timesteps; Karras spaces them by noise, SDE adds some at each step.",
        "original_scale": "Size of the original that the model is told, as a part of the picture's own.",
        "target_scale": "Size of the result that the model is told, as a part of the picture's own.",
        "crop_top": "How much the model is told was cut off above, in px.",
        "crop_left": "How much the model is told was cut off on the left, in px.",
        "refiner": "A second model for the first stage: it ends the schedule, or draws its end again.",
        "refiner_start": "Share of the schedule after which the refiner works.",
        "aesthetic_score": "How good a picture the refiner is told to make, 0 to 10.",
        "negative_aesthetic_score": "How good a picture it is told to stay away from, 0 to 10.",
        "seed": "Empty draws a new one for each run.",
        "overrides": "One a line, by the stage's target; any setting of a single stage.",
    }
)

CHOICES: Mapping[str, str] = MappingProxyType(
    {
        "gspn": "GSPN",
        "attention": "Attention",
        "neighborhood": "Neighbourhood",
        "linear": "Linear",
        "euler": "Euler",
        "euler-karras": "Euler Karras",
        "dpm++2m": "DPM++ 2M",
        "dpm++2m-karras": "DPM++ 2M Karras",
        "dpm++2m-sde": "DPM++ 2M SDE",
        "dpm++2m-sde-karras": "DPM++ 2M SDE Karras",
        "unipc": "UniPC",
        "ddim": "DDIM",
        "none": "None",
        "ensemble": "Ends the schedule",
        "image": "Draws the end again",
        "down": "Down blocks",
        "deep": "Deepest blocks",
        "all": "All blocks",
        "branch": "Second branch",
        "main": "Only prediction",
    }
)

PLACEHOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "a picture of …",
        "negative_prompt": "nothing",
        "seed": "random",
        "start": "",
        "ladder": "every doubling",
        "overrides": "1024.upscale_strength=0.3",
    }
)

STAGE_STATES: Mapping[str, str] = MappingProxyType(
    {
        "waiting": "waiting",
        "running": "running",
        "done": "done",
        "stopped": "stopped",
        "failed": "failed",
        "interrupted": "cut off",
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
        "interrupted": "Cut off",
    }
)

# In the order of the navigation.
PLACES: Mapping[str, str] = MappingProxyType(
    {"studio": "Studio", "compare": "Compare", "lab": "Lab", "history": "History"}
)

# Keys, parted by spaces, and what they do.
KEYS: tuple[tuple[str, str], ...] = (
    ("Ctrl Enter", "Run"),
    ("Esc", "Stop"),
    ("1 … 9", "Show a stage"),
    ("Z", "Fit or 1:1"),
    ("+ − 0", "Zoom in, zoom out, fit"),
    ("← ↑ ↓ →", "Move about in the picture"),
    ("F", "Full screen"),
    ("C", "Compare the last two stages"),
    ("?", "Show these keys"),
)

_COMPARE: Mapping[str, str] = MappingProxyType(
    {
        "compare_title": "Compare",
        "compare_modes": "How the pictures are shown",
        "compare_slider": "Slider",
        "compare_slider_title": "One over the other, parted by a line (S)",
        "compare_side": "Side by side",
        "compare_side_title": "Beside each other at the same place (B)",
        "compare_flip": "Flip",
        "compare_flip_title": "One at a time; hold Space for the next (H)",
        "compare_heat": "Difference",
        "compare_heat_title": "Where A and B differ (D)",
        "compare_swap": "Swap",
        "compare_swap_title": "Swap A and B (X)",
        "compare_link": "Copy link",
        "compare_linked": "Copied",
        "compare_link_failed": "Copy it from the address line",
        "compare_handle": "The line between A and B",
        "compare_add": "Add",
        "compare_add_title": "Add a stage",
        "compare_add_run": "Stages of the run at hand",
        "compare_add_history": "Choose in History",
        "compare_paste": "Paste a run's link",
        "compare_remove": "Leave out",
        "compare_empty_title": "Put pictures beside each other",
        "compare_empty_text": "Two to four stages of any runs, at one place and one size on the screen.",
        "compare_empty_run": "The last two stages of this run",
        "compare_one": "Add a second picture to compare with.",
        "compare_measuring": "measuring …",
        "compare_psnr": "PSNR",
        "compare_ssim": "SSIM",
        "compare_differ": "What differs",
        "compare_nothing": "The same settings.",
        "compare_same": "What is the same",
        "compare_setting": "Setting",
        "compare_pictures": "The pictures that are compared",
        "compare_open": "Show in Studio",
    }
)

_DROP: Mapping[str, str] = MappingProxyType(
    {
        "drop_open": "Settings from a picture …",
        "drop_here": "Let go: settings from its text, or else a picture to start from",
        "drop_hint": "Drop a PNG of this studio anywhere, paste it, or choose it; its pixels stay with you.",
        "drop_start": "Start from it",
        "drop_undo": "Undo",
        "drop_reproduce": "Reproduce",
        "drop_close": "Close",
        "drop_unreadable": "The file cannot be read; choose it again.",
        "drop_busy": "Another run is going on; stop it or wait, then reproduce.",
        "drop_too_large": "Its bytes are not compared: the file is too large or this address is not secure.",
    }
)

_START: Mapping[str, str] = MappingProxyType(
    {
        "start_open": "Start from a picture …",
        "start_hint": "Drop a picture anywhere, paste it, or choose it: the cascade climbs from it.",
        "start_busy": "Reading the picture …",
        "start_set": "Starts from this picture",
        "start_alt": "The picture to start from",
        "start_change": "Change",
        "start_remove": "Remove",
        "start_too_large": "{name} has more than 32 MiB; save it smaller, as a JPEG.",
        "start_unsent": "The picture did not arrive; choose it again.",
    }
)

_LAB: Mapping[str, str] = MappingProxyType(
    {
        "lab_title": "Lab",
        "lab_across": "Across",
        "lab_down": "Down",
        "lab_setting": "Setting",
        "lab_stage": "Stage",
        "lab_all_stages": "All stages",
        "lab_values": "Values",
        "lab_add_axis": "A second setting",
        "lab_remove_axis": "Leave this setting out",
        "lab_begin": "Run the study",
        "lab_past": "Your studies",
        "lab_forget": "Remove this study; its runs stay",
        "lab_metric": "Show",
        "lab_seconds": "Time",
        "lab_memory": "Peak memory",
        "lab_consistency": "Consistency",
        "lab_detail": "Detail",
        "lab_adherence": "Prompt shown",
        "lab_compare": "Compare",
        "lab_stop": "Stop",
        "lab_resume": "Resume",
        "lab_export": "Export",
        "lab_open": "Show in Studio",
        "lab_skip": "Skip",
        "lab_retry": "Try again",
        "lab_cell_more": "More",
        "lab_base": "From the form in Studio",
        "lab_enlarge": "Enlarge",
        "lab_cell_title": "Select to compare; double-click or Enter enlarges",
        "lab_gone": "its run was removed",
        "lab_most": "Four cells are selected, the most that are compared; press one again to leave it out.",
        "lab_before": "Previous cell",
        "lab_after": "Next cell",
        "lab_empty_title": "One or two settings, every value",
        "lab_empty_text": "The other settings are those of the form in Studio. Each cell is a run; "
        "stages that cells share are made once.",
    }
)

_MEASURED: Mapping[str, str] = MappingProxyType(
    {
        "measured_title": "Time and memory by size",
        "measured_kinds": "What is drawn",
        "measured_seconds": "Time",
        "measured_memory": "Memory",
        "measured_seconds_long": "Time of one UNet call on the guidance pair, by the picture's side in px",
        "measured_memory_long": "Highest memory of a stage, by the picture's side in px",
        "measured_empty": "Every run adds what its stages took; a short measurement compares all mixers.",
        "measured_table": "The figures",
        "measured_begin": "Measure",
        "measured_end": "Stop",
    }
)

SCREEN: Mapping[str, str] = MappingProxyType(
    {
        "viewer": "Picture",
        "ladder": "Stages",
        "panel": "Run",
        "zoom": "Zoom",
        "zoom_in": "Zoom in (+)",
        "zoom_out": "Zoom out (−)",
        "fit": "Fit",
        "fit_title": "The whole picture (0)",
        "full": "1:1",
        "full_title": "One pixel of the picture on one of the screen (Z)",
        "enlarge": "Full screen (F)",
        "download": "PNG",
        "download_wait": "PNG is being written",
        "examples": "Try one of these",
        "weights": "Weights over the steps",
        "weights_wait": "The weights of an upscale stage show here.",
        "c1": "skip",
        "c2": "dilated",
        "c3": "blur",
        "memory_wait": "The memory of the run shows here.",
        "restored": "Restored · started",
        "explain": "Explain the settings",
        "theme": "Light or dark",
        "places": "Places",
        "models": "Choose the model",
        "trouble_close": "Close this message",
        "chip": "The run",
        "keys_title": "Keys",
        "close": "Close",
        "actions": "Next",
        "remedies": "What would help",
        "undo": "Undo",
        "stage_menu": "More for {stage}",
        "history": "Your runs",
        "history_search": "Search prompts and notes",
        "history_starred": "Favourites",
        "history_more": "Show more",
        "history_empty": "No runs yet",
        "history_empty_text": "Every run that you start in this browser is listed here with its picture.",
        "history_none": "Nothing found",
        "history_start": "Go to the studio",
        "history_open": "Open: {prompt}",
        "history_blank": "no picture",
        "history_note": "Add a note",
        "history_note_of": "Note on: {prompt}",
        "history_star": "Favourite: {prompt}",
        "history_pick": "Select to compare",
        "history_pick_of": "Select to compare: {prompt}",
        "history_picked": "{count} selected",
        "history_too_many": "{count} selected, at most 4",
        "history_clear": "Clear",
        "history_compare": "Compare",
        "history_resume": "Resume",
        "history_climb": "Climb from it",
        "history_delete": "Delete",
        "history_sure": "Delete for good?",
        "history_keep": "Keep",
        "left_before": "about",
        "left_after": "left",
        "left_unknown": "— left",
        "keys": "Ctrl Enter run · Esc stop · 1–9 stage · Z 1:1 · F full screen · ? keys",
        **_COMPARE,
        **_LAB,
        **_DROP,
        **_START,
        **_MEASURED,
    }
)

ROWS: Mapping[str, str] = MappingProxyType(
    {
        "step": "Step",
        "peak": "Peak, this stage",
        "highest": "{memory}, peak",
        "queue": "Queue",
        "picture": "Picture",
        "stages": "Stages",
        "steps": "Steps",
    }
)

MEASURED_RANDOM = "Mixers without weights for this model are measured with random ones, which cost the same."
LAB_TIME_UNKNOWN = "the time is known once these sizes have run"
LAB_HINT_TEXTS = "One text a line."
LAB_HINT_NUMBERS = "0.2, 0.4 or 0.2..0.6 by 0.1 or 5 from 0.2 to 0.6"
LAB_HINTS: Mapping[str, str] = MappingProxyType(
    {"seed": "7, 11 or 4 from 7", "target": "Pixels, such as 512, 1024", "aspect": "1:1, 3:2, 16:9"}
)
LAB_ARCHIVE = "The archive of this study"
DRAWN_ONCE = "drawn once for all cells"
STUDY_STATES: Mapping[str, str] = MappingProxyType(
    {"running": "Running", "stopped": "Stopped", "done": "Done"}
)
CELL_STATES: Mapping[str, str] = MappingProxyType(
    {"waiting": "waiting", "running": "running", "done": "done", "failed": "failed", "skipped": "skipped"}
)
API: Mapping[str, str] = MappingProxyType(
    {
        "run": "Queue a run and return its id. Every setting is a parameter; None leaves it to the model.",
        "follow": "Tell a run as it goes on, to its end: state, stage, step, seconds, memory, stages.",
        "picture": "Keep a picture that runs may start from and return its reference: run's `start`.",
        "fetch": "Return the PNG of a finished stage of a run: its number from 1, or 0 for the last one.",
    }
)
DROP_NAMELESS = "picture"
DROP_SAME = "Reproduced: the same bytes."
DROP_SAME_REUSED = "The same bytes; an earlier run here had made this stage, so it was not made again."
DROP_DIFFERS = "Other bytes: another machine, version or model made the picture, or the form was changed."
DROP_UNDONE = "The form is as it was."
DROP_OTHER_TOOL = "Written by another tool; what fits was taken over."

COMPARE_ROWS: Mapping[str, str] = MappingProxyType(
    {"size": "Size", "seconds": "Time", "memory": "Peak memory"}
)
COMPARE_TWO = "Two pictures are needed for that; add a second one."
COMPARE_HEAT_ALT = "Map of where A and B differ: the lighter, the more"

RUN_STATES: Mapping[str, str] = MappingProxyType({**HEADLINES, "queued": QUEUED, "running": RUNNING})

NOTHING_DONE: Mapping[str, str] = MappingProxyType(
    {
        "queued": "Another run has the device; yours starts by itself.",
        "running": "The first picture is on its way.",
        "stopped": "Stopped before the first stage was done.",
        "failed": "This run ended before its first stage was done.",
        "interrupted": "The server ended before the first stage was done.",
    }
)

FINISHING = "Finishing"
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
        "overridden": "No effect: every later stage has a value of its own.",
        "never": "No effect while Dilate until is 0.",
        "main": "No effect: the only prediction is dilated, so there is nothing to weigh.",
        "whole": "No effect: the dilated branch has all the weight.",
        "undilated": "No effect: no step is dilated.",
        "below": "No effect: the dilated branch's weight stays below its cutoff.",
        "free": "No effect: nothing is held and no dilated branch runs.",
        "unblurred": "No effect at Blur σ 0.",
        "started_free": "No effect: the layout is not held at the first step.",
    }
)
REUSED = "reused"
LOST_RUN = "That run is no longer kept here; start a new one."
STOPPED_NOTICE = "Stopped; the stages that were done are kept."
NO_REMEDY = "This help is no longer there; load the page again."
NO_ROUTE = "There is nothing at this address; open the page itself."
SIGN_IN_FIRST = "Sign in on the page first; this address needs it."
BODY_TOO_SLOW = "The request came too slowly and was given up; send it again."
NO_FILES_HERE = "Files cannot be sent or named here; choose the picture on the page."
PAYLOAD_TOO_LARGE = "The page sent more than this event takes; reload the page and try again."
HALF_CHARACTER = "The text holds half a character (a lone surrogate); type it again."
NO_SEED_YET = "No run yet whose seed could be used again."


# A setting's name in a sentence of the core's; within it one that is an everyday word is left alone.
_FIRST_NAME = re.compile(rf"(?:{'|'.join(sorted(LABELS, key=len, reverse=True))})(?!\w)")
_NAME = re.compile(rf"(?<![\w.'])(?:{'|'.join(name for name in LABELS if '_' in name)})(?![\w='])")


def said(sentence: str) -> str:
    """Return a refusal as the page says it: settings by their labels, where programs read their names."""
    first = _FIRST_NAME.match(sentence)
    start, rest = (_label(first[0]), sentence[first.end() :]) if first else ("", sentence)
    if first and first[0] == "overrides":
        # Single stages' own values are typed by name, and so are they spoken of.
        return start + rest
    return start + _NAME.sub(lambda name: _label(name[0]), rest)


def _label(name: str) -> str:
    label = LABELS[name]
    return f"‘{label}’" if re.search("[,·]", label) else label


def loading(reading: ModelProgress | None) -> str:
    """Return how far the reading of the model is."""
    if reading is None or not reading.total_bytes:
        return LOADING_MODEL
    done, total = bytes_(reading.done_bytes), bytes_(reading.total_bytes)
    if reading.doing == "fetch":
        return f"fetching {reading.part}, {done} of {total} …"
    return f"loading the model, {done} of {total} …"


def changing_to(title: str) -> str:
    """Return that another model comes."""
    return f"changing to {title} …"


def described(card: ModelCard) -> str:
    """Return what a model is, and what of it is kept in fewer bits."""
    kept = None if card.shapes is None else card.shapes.unet.quantized
    if kept is None:
        return card.description
    unet = card.shapes.unet
    return (
        f"{card.description}; {kept.layers} linear layers of its UNet are kept in {kept.scheme} with "
        f"{kept.package}, so that its weights take {bytes_(unet.weight_bytes(2))} in place of "
        f"{bytes_(2 * unet.parameters)}"
    )


def fell_back(sentence: str, title: str) -> str:
    """Return that the model that was asked for is not served, and which is."""
    return f"{sentence} {title} runs in its place."


def model_choice(title: str, current: bool) -> str:
    """Return a model in the menu at the top."""
    return f"{title} · in use" if current else title


def bytes_(count: int | None) -> str:
    """Return bytes as "1.6 GB", "640 MB" or "12 kB" (decimal units), "—" for None."""
    if count is None:
        return UNKNOWN
    if count < 999.5e3:
        return f"{count / 1e3:.0f} kB"
    if count >= 999.5e6:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB"


def seconds(value: float | None) -> str:
    """Return a duration as "0.4 s", "12 s", "3 min 05 s" or "2 h 07 min", "—" for None."""
    if value is None:
        return UNKNOWN
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(height: int, width: int) -> str:
    """Return a size as width × height."""
    return f"{width} × {height}"


def memory_label(kind: MemoryKind | None) -> str:
    """Return what a memory figure measures."""
    return {"device": "GPU memory", "process": "Process memory", None: "Memory"}[kind]


def peak_of(count: int) -> str:
    """Return the highest memory of a run, for the line that marks it."""
    return f"peak {bytes_(count)}"


def call_seconds(value: float) -> str:
    """Return the duration of a short piece of work, as "4 ms", "320 ms" or "1.3 s"."""
    return f"{value * 1e3:.2g} ms" if value < 0.0995 else f"{value:.2g} s" if value < 9.95 else seconds(value)


def call_unit(largest: float) -> tuple[str, Callable[[float], str]]:
    """Return the unit in which durations up to `largest` seconds stand in a table, and how each is said."""
    if largest < 10:
        return "ms", lambda value: f"{value * 1e3:.0f}"
    return "s", lambda value: f"{value:.1f}"


def memory_unit(largest: float) -> tuple[str, Callable[[float], str]]:
    """Return the unit in which memory of up to `largest` bytes stands in a table, and how each is said."""
    digits = 2 if largest < 10e9 else 1
    return "GB", lambda value: f"{value / 1e9:.{digits}f}"


def measured_ratio(side_px: int, ratio: float) -> str:
    """Return how many times as long attention takes as GSPN at a size."""
    return f"At {side_px} px a UNet call with attention takes {ratio:.2g} times as long as with GSPN."


def measured_where(machine: str, first: datetime.date, last: datetime.date) -> str:
    """Return on what and when it was measured."""
    days = sorted({first, last})
    return f"Measured on {machine}, {' to '.join(f'{day.day} {day:%b %Y}' for day in days)}."


def measured_progress(done: int, side_px: int | None) -> str:
    """Return how far a measurement is."""
    return "measuring …" if side_px is None else f"{done} measured, up to {side_px} px"


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
        return "you are running"
    return "1 run before yours" if position == 1 else f"{position} runs before yours"


def stage_label(number: int, height: int, width: int, state: str, lines: Sequence[str] = ()) -> str:
    """Return what a screen reader says of a stage's card: its number, what stands on it, and its state."""
    shown = " ".join((size(height, width), *lines))
    said = STAGE_STATES[state]
    return f"Stage {number}, {shown}" + ("" if said in lines else f", {said}")


# How a stage is computed where memory is short: fields of `gspn_core.planning.types.MemoryOptions`.
SAVINGS: Mapping[str, str] = MappingProxyType(
    {
        "residency": "weights offloaded",
        "serial_guidance": "guidance in turn",
        "chunked_feed_forward": "in chunks",
        "small_blocks": "small blocks",
        "skips_on_host": "maps on the host",
        "small_tiles": "smaller tiles",
        "float8_storage": "8-bit weights",
    }
)


def foretold(
    value: float | None, peak_bytes: int, savings: Sequence[str], *, long: bool = False
) -> list[str]:
    """Return what a stage is predicted to take, and with which savings it fits."""
    took = [] if value is None else [f"about {seconds(value)}" + (f", {VERY_LONG}" if long else "")]
    return [*took, f"about {bytes_(peak_bytes)}", *(SAVINGS[name] for name in savings)]


# What a button beside a stage in trouble says, by the setting that it changes.
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "target": "Climb to {value} instead",
        "mixer": "Use the mixer {value}",
        "dilated_min_weight": "Without the dilated branch",
        "guidance_stop": "Guidance for the first half",
    }
)
VERY_LONG = "very long"


def remedy(name: str, value: Any) -> str:
    """Return what the button of a remedy says."""
    return REMEDIES[name].format(value=_value(value))


def remedy_takes(value: float | None, peak_bytes: int) -> str:
    """Return what a run takes with a remedy."""
    return ", ".join(foretold(value, peak_bytes, ()))


def remedied(name: str, value: Any, before: Any) -> str:
    """Return what a remedy changed in the form."""
    return f"{_label(name)} is {_value(value)} now, it was {_value(before)}."


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)[:40]
    return CHOICES.get(text, text)


def in_trouble(title: str, reason: str, lines: Sequence[str]) -> str:
    """Return beside Run why the run to come cannot be, or that it takes long."""
    return f"{title} px {'does not fit' if reason == 'memory' else 'takes long'}: {', '.join(lines)}."


def too_large(peak_bytes: int, budget_bytes: int) -> list[str]:
    """Return why a stage cannot run here."""
    return [f"needs {bytes_(peak_bytes)}", f"of {bytes_(budget_bytes)}"]


def retried(savings: Sequence[str]) -> list[str]:
    """Return with what a stage began again when memory ran out; nothing where it did not."""
    return [f"memory ran out: {', '.join(SAVINGS[name] for name in savings)}"] if savings else []


def continue_to(target: int) -> str:
    """Return the name of the action that takes a run to a higher target."""
    return f"Continue to {target}"


def compare_with(height: int, width: int) -> str:
    """Return the name of the action that shows a stage beside the one before it."""
    return f"Compare with {size(height, width)}"


def reused(saved: float | None) -> list[str]:
    """Return what the card of a reused stage says; saved: the seconds that it would have taken."""
    return [REUSED] if saved is None else [REUSED, f"saved {seconds(saved)}"]


def reusable(saved: float | None) -> list[str]:
    """Return what the card of a stage says before a run that will reuse it."""
    return [REUSED] if saved is None else [REUSED, f"saves {seconds(saved)}"]


def ahead(sizes: Sequence[tuple[int, int]], saved: float | None, count: int) -> str:
    """Return which of `count` stages the next run would reuse, by their sizes; "" where it is none."""
    if not sizes:
        return ""
    named = "every stage" if 1 < count == len(sizes) else _listed([size(*pair) for pair in sizes])
    return f"The next run reuses {named}" + ("." if saved is None else f"; saves {seconds(saved)}.")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def reached(height: int, width: int, planned_height: int, planned_width: int) -> str:
    """Return the size of a run's largest picture, and of how much where it ended early."""
    planned = size(planned_height, planned_width)
    whole = (height, width) == (planned_height, planned_width)
    return planned if whole else f"{size(height, width)} of {planned}"


def runs_counted(count: int, *, more: bool) -> str:
    """Return how many runs a list shows."""
    if more:
        return f"the newest {count}"
    return "1 run" if count == 1 else f"{count} runs"


def usage(own: int, used: int, quota: int) -> str:
    """Return the disk that a visitor's runs take, and everybody's of what there may be, in bytes."""
    return f"yours {bytes_(own)} · all {bytes_(used)} of {bytes_(quota)}"


def picture_alt(prompt: str, height: int, width: int) -> str:
    """Return the text that stands for a stage's picture."""
    return f"{prompt} — {size(height, width)} px"


def stage_announcement(number: int, count: int, duration: float | None) -> str:
    """Return what is read aloud when a stage is done; without a duration it was reused."""
    how = REUSED if duration is None else f"done in {seconds(duration)}"
    return f"Stage {number} of {count} {how}."


def start_shown(reference: str) -> str:
    """Return what a starting picture is called: its size and the first digits of its hash."""
    size_, _, seal = reference.partition("-")
    return f"{size_.replace('x', ' × ')} · {seal[:8]}" if seal else NOISE


def file_name(height: int, width: int, seed: int | None) -> str:
    """Return the name under which a picture is downloaded."""
    return f"gspn-{width}x{height}" + ("" if seed is None else f"-seed-{seed}") + ".png"


def no_stage(reference: str) -> str:
    """Return the sentence for a stage that cannot be compared."""
    return (
        f"There is no finished picture {reference[:70]!r}; paste the link of a run, or choose one in History."
    )


def stage_seconds(stage: StageView) -> str:
    """Return how long a stage took, and when it was reused, how long it had taken."""
    if stage.reused:
        return f"{seconds(stage.saved_seconds)}, {REUSED}"
    return seconds(stage.seconds)


def decibels(value: float | None) -> str:
    """Return a ratio in decibels, None for pictures without any difference."""
    return "equal" if value is None else f"{value:.1f} dB"


def compared_at(height: int, width: int) -> str:
    """Return at which size two pictures were measured."""
    return f"A against B at {size(height, width)}"


def heat_scale(top: float) -> str:
    """Return what the light end of a map of differences stands for."""
    return f"0 – {top:.0f} of 255"


def picture_read(name: str, stage: int | None) -> str:
    """Return what is said once a picture's settings are in the form."""
    shown = name if len(name) <= 40 else f"{name[:37]}…"
    return f"From {shown}" + ("" if stage is None else f", stage {stage + 1}")


def not_taken(names: Sequence[str]) -> str:
    """Return what of a picture's text means nothing here."""
    return "Not known here: " + "; ".join(names)


def made_with(differing: Mapping[str, tuple[str, str]]) -> str:
    """Return what a picture was made with that is different here."""
    told = ", ".join(f"{name} {there} (here {here})" for name, (there, here) in differing.items())
    return f"Made with {told}; the bytes may differ."


def head_too_large(name: str, most_kib: int) -> str:
    """Return the sentence for a file with too much before its pixels."""
    return f"{name} has more than {most_kib} KiB before its pixels; choose another picture."


def not_whole(name: str) -> str:
    """Return the sentence for a file whose bytes were cut off on their way."""
    return f"{name} did not arrive whole; choose it again."


def values_counted(count: int) -> str:
    """Return how many values an axis has."""
    return "1 value" if count == 1 else f"{count} values"


def cells_done(done: int, count: int) -> str:
    """Return how many cells of a study are done."""
    return f"{done} of {count} cells"


def label_at(label: str, stage_px: int) -> str:
    """Return what a setting of one stage alone is called."""
    return f"{label} at {stage_px} px"


def study_cost(cost: Cost) -> str:
    """Return what a study will take, before it runs."""
    cells = "1 cell" if cost.cells == 1 else f"{cost.cells} cells"
    if cost.pictures < cost.cells:
        cells += ", only 1 picture" if cost.pictures == 1 else f", only {cost.pictures} different pictures"
    stages = "1 stage to run" if cost.stages_to_run == 1 else f"{cost.stages_to_run} stages to run"
    shared = f", {cost.stages_shared} shared or there already" if cost.stages_shared else ""
    calls = "" if cost.calls is None else f"; {cost.calls:g} UNet calls"
    time = LAB_TIME_UNKNOWN if cost.seconds is None else f"about {seconds(cost.seconds)}"
    return f"{cells}: {stages}{shared}{calls}; {time}."


def lab_hint_choices(names: Sequence[str]) -> str:
    """Return how values of a setting that is one of a few are written."""
    return f"all, or some of {', '.join(names)}"


def decibels_of(value: float | None) -> str:
    """Return a figure in decibels, "—" for none."""
    return UNKNOWN if value is None else f"{value:.1f} dB"


def share_of(value: float | None) -> str:
    """Return a share in percent, "—" for none."""
    return UNKNOWN if value is None else f"{value * 100:.2f} %"


def percent(share: float | None) -> str:
    """Return a share in whole percent, "—" for none."""
    return UNKNOWN if share is None else f"{share:.0%}".replace("%", " %")


def no_picture_yet(stage: int) -> str:
    """Return the sentence for a stage whose picture is not written."""
    which = f"Stage {stage} of this run" if stage else "This run"
    return f"{which} has no finished picture; follow the run and fetch it once it is done."


def figure(value: float) -> str:
    """Return a number in two digits, as a person would write it."""
    if 0 < value < 0.01:
        return "less than 0.01"
    return f"{float(f'{value:.2g}'):g}"


def part_of(share: float) -> str:
    """Return a share in whole percent; one that is hardly there, or hardly missing, is said to be so."""
    if 0 < share < 0.005:
        return "less than 1 %"
    return "over 99 %" if 0.995 <= share < 1 else percent(share)


def curve_strength(timestep: float, sigma: float, steps: int, count: int) -> str:
    """Return what the upscale strength decides."""
    start = f"timestep {timestep:.0f}, noise level {figure(sigma)}"
    return f"The last stage starts at {start}, and takes {steps} of {count} steps."


def curve_width(first: float, last: float) -> str:
    """Return what sigma decides where the layout is held."""
    if not last:
        return "At 0 all that the stage before shows is held."
    if figure(first) == figure(last):
        return f"Structures wider than {figure(first)} px of the base are held to the stage before."
    ends = f"{figure(first)} px of the base at the first step and {figure(last)} px at the last"
    return f"Structures are held that are wider than {ends}."


def curve_blur(first: float, last: float) -> str:
    """Return what sigma decides where only the dilated branch reads it."""
    if figure(first) == figure(last):
        return f"The dilated branch sees a blur of {figure(first)} px of the base."
    ends = f"{figure(first)} px of the base at its first step and {figure(last)} px at its last"
    return f"The dilated branch sees a blur of {ends}."


def curve_held(first: float, last: float) -> str:
    """Return what the first cosine scale decides."""
    if part_of(first) == part_of(last):
        return f"The layout is held by {part_of(first)} at every step."
    return f"The layout is held by {part_of(first)} at the first step and by {part_of(last)} at the last."


def curve_dilated(first: float, last: float, least: float, dilated: int, steps: int) -> str:
    """Return what the second cosine scale and the least weight decide."""
    if not dilated:
        return f"The dilated branch is off: its weight stays below {figure(least)}."
    calls = "1 more UNet call" if dilated == 1 else f"{dilated} more UNet calls"
    ends = part_of(first) if part_of(first) == part_of(last) else f"{part_of(first)} to {part_of(last)}"
    return f"The dilated branch runs in {dilated} of {steps} steps, {calls}; its weight there is {ends}."


def curve_widened(first: float, last: float) -> str:
    """Return what the third cosine scale decides. first, last: how many times as wide as at scale 0."""
    if figure(first) == figure(last) == "1":
        return "The width of what is held is the same at every step."
    ends = f"{figure(first)} times at the first step and {figure(last)} times at the last"
    return f"The width of what is held grows {ends}."


def curve_fade(first: float, last: float) -> str:
    """Return what the third cosine scale decides where only the dilated branch is blurred."""
    if part_of(first) == part_of(last):
        return f"The branch's blur is {part_of(first)} of Blur σ at every step."
    ends = f"{part_of(first)} of Blur σ at its first step and {part_of(last)} at its last"
    return f"The branch's blur is {ends}."


def crops_of(label: str) -> str:
    """Return what the crops beside a slider are, as a screen reader says it."""
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
    told = f"“{prompt}”, {target} px, seed {seed}; the other settings at default."
    return f"{told} Drawn by the embedded model, not by {other}." if other else told


def bad_payload(field: str) -> str:
    """Return the sentence for what a page sent in a form that is not known here."""
    what = f"{field} in a form" if field else "something"
    return f"The page sent {what} that this event does not take; reload the page and try again."


def foreign_host(name: str) -> str:
    """Return the sentence for a request to a name under which the page is not served."""
    what = f"{name} is not" if name else "The Host header is missing or is not"
    return f"{what} a name of this server; open it as 127.0.0.1, or give --allowed-host NAME."


def wait_to_sign_in(seconds: int) -> str:
    """Return the sentence for passwords that come too soon after wrong ones."""
    return f"Too many wrong passwords; wait {seconds} s, then try again."


def body_too_large(most_bytes: int) -> str:
    """Return the sentence for a request that sends too much."""
    return f"The request is too large; at most {bytes_(most_bytes)} can be sent at once."
