"""The settings form: one control for every field of Settings, and the way back from what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gspn_core.planning.costs import MOST_PICTURES
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import ModelCard
from gspn_core.settings import CHOICES, FIELD_NAMES, RANGES, Settings, overrides_text
from ui.form.loras import build_loras, has_loras
from ui.form.start import SHOWN_WITH_PICTURE, build_start
from ui.form.steering import (
    CONTROL,
    FIELDS,
    IMAGE,
    SHOWN_WITH_CONTROL,
    build_steering,
    choices_of,
    has_controls,
)
from ui.form.texts import build_texts
from ui.form.vocabulary import build_vocabulary
from ui.shared.strings import batch_strings, form_strings, labels

SHOWN = (
    "prompt",
    "target",
    "mixer",
    "upscale_strength",
    "gaussian_sigma",
    "cosine_scale_1",
    "cosine_scale_2",
    "cosine_scale_3",
)
SEED = "seed"
LORAS = "loras"
START = "start"
REDRAWING = ("start_strength", "region", "region_feather", "extend")
UPSCALER, NOISE_LEVEL = "upscaler", "noise_level"
REFINER = ("refiner", "refiner_start", "aesthetic_score", "negative_aesthetic_score")
VARIATION = ("variation_seed", "variation_strength")
_ELSEWHERE = (*SHOWN, START, *REDRAWING, LORAS, *FIELDS, SEED, *VARIATION, "overrides")
FOLDED = (*(name for name in FIELD_NAMES if name not in _ELSEWHERE), *VARIATION, "overrides")
# What a model fills in where Settings leave it open.
LEFT_TO_THE_MODEL = frozenset(
    {"ladder", UPSCALER} | {n for n in FIELD_NAMES if getattr(Settings, n, "") is None}
)
ASPECTS = ("1:1", "4:3", "3:2", "16:9", "21:9", "3:4", "2:3", "9:16")


def is_offered(name: str, card: ModelCard) -> bool:
    """Tell whether a setting does anything with a model: without a refiner, a refiner's do nothing."""
    if name == UPSCALER:
        return bool(card.upscalers)
    if name == NOISE_LEVEL:
        return bool(card.x4)
    if name == LORAS:
        return has_loras(card)
    if name in FIELDS:
        return has_controls(card)
    return card.has_refiner or name not in REFINER


@dataclass(frozen=True, kw_only=True)
class Form:
    """The controls by field name, in the order of Settings, and what stands next to prompt and seed."""

    controls: Mapping[str, Any]
    starting: gr.HTML
    next_example: gr.Button
    seed_random: gr.Button
    seed_reuse: gr.Button
    pictures: gr.Slider
    loras: gr.HTML
    steering: gr.HTML
    both: gr.Button

    @property
    def inputs(self) -> list[Any]:
        """Return the controls in the order of Settings' fields."""
        return [self.controls[name] for name in FIELD_NAMES]


def initial_values(card: ModelCard) -> dict[str, Any]:
    """Return what the form holds at first: Settings' defaults, and the card's where those leave it open."""
    prompt = card.examples[0] if card.examples else labels.PLACEHOLDERS["prompt"]
    blank = Settings(prompt=prompt)
    resolved = make_plan(blank, card).settings.to_dict()
    return {
        **resolved,
        "prompt": card.examples[0] if card.examples else "",
        UPSCALER: card.upscalers[0].name if card.upscalers else "",
        SEED: "",
        "overrides": "",
    }


def build_prompt(card: ModelCard) -> tuple[Any, gr.Button]:
    """Draw the prompt into the open gradio block; return its control and the button of the next example."""
    next_example = gr.Button(
        form_strings.EXAMPLE, size="sm", elem_id="next-example", min_width=60, visible=bool(card.examples)
    )
    prompt = _control("prompt", initial_values(card)["prompt"], card)
    build_texts()
    build_vocabulary(card)
    return prompt, next_example


def build_form(card: ModelCard, prompt: Any, next_example: gr.Button, *, has_both: bool = True) -> Form:
    """Draw the form into the open gradio block: the settings that matter, the seed, the rest folded.

    Args:
        card: The model's.
        prompt: The control of the prompt, and the button next to it, both drawn before.
        next_example: See there.
        has_both: Whether the model has the mixers that Run both compares.
    """
    values = initial_values(card)
    controls = {"prompt": prompt}
    starting = build_start()
    for name in (START, *REDRAWING, *SHOWN[1:]):
        if name == "mixer":
            both = gr.Button(
                form_strings.RUN_BOTH, size="sm", elem_id="run-both", visible=has_both, min_width=60
            )
        controls[name] = _control(name, values[name], card)
    with gr.Row(elem_id="seed-row"):
        controls[SEED] = _control(SEED, values[SEED], card)
        seed_random = gr.Button(form_strings.SEED_RANDOM, size="sm", elem_id="seed-random", min_width=64)
        seed_reuse = gr.Button(form_strings.SEED_REUSE, size="sm", elem_id="seed-reuse", min_width=84)
    with gr.Accordion(form_strings.MORE, open=False, elem_id="more"):
        controls[LORAS] = _control(LORAS, values[LORAS], card)
        loras = build_loras(card)
        controls |= {name: _control(name, values[name], card) for name in (CONTROL, IMAGE)}
        steering = build_steering(card)
        controls |= {name: _control(name, values[name], card) for name in SHOWN_WITH_CONTROL}
        pictures = _pictures()
        controls |= {name: _control(name, values[name], card) for name in FOLDED}
    return Form(
        controls=controls,
        starting=starting,
        next_example=next_example,
        seed_random=seed_random,
        seed_reuse=seed_reuse,
        pictures=pictures,
        loras=loras,
        steering=steering,
        both=both,
    )


def _control(name: str, value: Any, card: ModelCard) -> Any:
    common = {
        "value": value,
        "label": labels.LABELS[name],
        "info": labels.HELP[name],
        "elem_id": f"field-{name}",
        "elem_classes": ["field"],
        "interactive": True,
        # Without a picture to start from or a network, they would do nothing.
        "visible": is_offered(name, card) and name not in (*SHOWN_WITH_PICTURE, *SHOWN_WITH_CONTROL),
    }
    if name == "start_px":
        below = [(str(px), px) for px in card.targets[:-1]]
        return gr.Radio([(form_strings.START_NEAREST, 0), *below], **common)
    if name == "target":
        return gr.Radio([(str(px), px) for px in card.targets], **common)
    if name == SEED:
        return gr.Textbox(placeholder=labels.PLACEHOLDERS[name], max_lines=1, min_width=80, **common)
    if name == "variation_seed":
        bounds = RANGES[name]
        return gr.Number(minimum=bounds.minimum, maximum=bounds.maximum, precision=0, buttons=[], **common)
    if name == "aspect":
        return gr.Dropdown(list(ASPECTS), allow_custom_value=True, **common)
    if name in CHOICES:
        offered = card.mixers if name == "mixer" else CHOICES[name]
        choices = [(labels.CHOICES[choice], choice) for choice in offered]
        return gr.Dropdown(choices, **common) if len(choices) > 3 else gr.Radio(choices, **common)
    if name == CONTROL:
        return gr.Dropdown(choices_of(card), **common)
    if name == UPSCALER:
        return gr.Dropdown([upscaler.name for upscaler in card.upscalers] or [""], **common)
    if name in RANGES:
        bounds = RANGES[name]
        return gr.Slider(bounds.minimum, bounds.maximum, step=bounds.step, buttons=[], **common)
    if name == LORAS:
        return gr.Textbox(placeholder=labels.PLACEHOLDERS[name], max_lines=1, **common)
    if name == "ladder":
        models = form_strings.other_models(upscalers=bool(card.upscalers), x4=bool(card.x4))
        own = [form_strings.ONE_PASS] if card.has_superres else []
        common["info"] = "\n".join((common["info"], models, *own))
        return gr.Textbox(placeholder=card.ladder or labels.PLACEHOLDERS[name], max_lines=1, **common)
    lines = 3 if name == "prompt" else 2
    return gr.Textbox(
        placeholder=labels.PLACEHOLDERS[name],
        lines=lines,
        max_lines=6,
        **common,
    )


def _pictures() -> gr.Slider:
    """Draw the field that says how many pictures Run draws, which is of no picture's settings."""
    return gr.Slider(
        1,
        MOST_PICTURES,
        value=1,
        step=1,
        label=batch_strings.PICTURES,
        info=batch_strings.PICTURES_HELP,
        elem_id="field-pictures",
        elem_classes=["field"],
        buttons=[],
        interactive=True,
    )


def next_example(prompt: str, card: ModelCard) -> str:
    """Return the card's example after the one that the prompt holds, the first where it holds none."""
    examples = card.examples
    return examples[(examples.index(prompt) + 1) % len(examples)] if prompt in examples else examples[0]


def settings_from(values: Sequence[Any]) -> Settings:
    """Return the settings that the controls hold, in the order of `Form.inputs`; raise BadSetting."""
    given = dict(zip(FIELD_NAMES, values, strict=True))
    texts = ("prompt", "negative_prompt", "ladder", START, "region", "extend", UPSCALER, LORAS, "overrides")
    for name in (*texts, CONTROL, IMAGE):
        given[name] = given[name] or ""
    given[SEED] = _seed_from(given[SEED])
    return Settings.from_dict(given)


def _seed_from(value: Any) -> Any:
    """Return a typed seed as a number, an empty one as None; Settings refuses whatever else it is."""
    text = "" if value is None else str(value).strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else text or None


def is_open(name: str, value: Any) -> bool:
    """Return whether a value leaves a setting to the model, as the form's first value does."""
    return name in LEFT_TO_THE_MODEL and value in (None, "")


def values_of(settings: Mapping[str, Any], card: ModelCard) -> list[Any]:
    """Return what the controls must hold to say `settings` again, in the order of `Form.inputs`."""
    first = initial_values(card)
    held = {
        **first,
        **{n: value for n, value in settings.items() if not (value is None or is_open(n, value))},
    }
    held |= {SEED: str(held[SEED]), "overrides": overrides_text(held["overrides"])}
    return [held[name] for name in FIELD_NAMES]
