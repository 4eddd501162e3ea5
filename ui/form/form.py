"""The settings form: one control for every field of Settings, and the way back from what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import ModelCard
from gspn_core.settings import CHOICES, FIELD_NAMES, RANGES, Settings, overrides_text
from ui.form.start import SHOWN_WITH_PICTURE, build_start
from ui.form.vocabulary import build_vocabulary
from ui.shared.strings import form_strings, labels

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
START = "start"
REDRAWING = ("start_strength", "region", "region_feather")
REFINER = ("refiner", "refiner_start", "aesthetic_score", "negative_aesthetic_score")
FOLDED = tuple(name for name in FIELD_NAMES if name not in (*SHOWN, START, *REDRAWING, SEED))
ASPECTS = ("1:1", "4:3", "3:2", "16:9", "21:9", "3:4", "2:3", "9:16")


def is_offered(name: str, card: ModelCard) -> bool:
    """Tell whether a setting does anything with a model: without a refiner, a refiner's do nothing."""
    return card.has_refiner or name not in REFINER


@dataclass(frozen=True, kw_only=True)
class Form:
    """The controls by field name, in the order of Settings, and what stands next to prompt and seed."""

    controls: Mapping[str, Any]
    starting: gr.HTML
    next_example: gr.Button
    seed_random: gr.Button
    seed_reuse: gr.Button

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
        SEED: "",
        "overrides": "",
    }


def build_prompt(card: ModelCard) -> tuple[Any, gr.Button]:
    """Draw the prompt into the open gradio block; return its control and the button of the next example."""
    next_example = gr.Button(
        form_strings.EXAMPLE, size="sm", elem_id="next-example", min_width=60, visible=bool(card.examples)
    )
    prompt = _control("prompt", initial_values(card)["prompt"], card)
    build_vocabulary(card)
    return prompt, next_example


def build_form(card: ModelCard, prompt: Any, next_example: gr.Button) -> Form:
    """Draw the form into the open gradio block: the settings that matter, the seed, the rest folded.

    Args:
        card: The model's.
        prompt: The control of the prompt, and the button next to it, both drawn before.
        next_example: See there.
    """
    values = initial_values(card)
    controls = {"prompt": prompt}
    starting = build_start()
    controls |= {name: _control(name, values[name], card) for name in (START, *REDRAWING, *SHOWN[1:])}
    with gr.Row(elem_id="seed-row"):
        controls[SEED] = _control(SEED, values[SEED], card)
        seed_random = gr.Button(form_strings.SEED_RANDOM, size="sm", elem_id="seed-random", min_width=64)
        seed_reuse = gr.Button(form_strings.SEED_REUSE, size="sm", elem_id="seed-reuse", min_width=84)
    with gr.Accordion(form_strings.MORE, open=False, elem_id="more"):
        controls |= {name: _control(name, values[name], card) for name in FOLDED}
    return Form(
        controls=controls,
        starting=starting,
        next_example=next_example,
        seed_random=seed_random,
        seed_reuse=seed_reuse,
    )


def _control(name: str, value: Any, card: ModelCard) -> Any:
    common = {
        "value": value,
        "label": labels.LABELS[name],
        "info": labels.HELP[name],
        "elem_id": f"field-{name}",
        "elem_classes": ["field"],
        "interactive": True,
        # Without a picture to start from, they would do nothing.
        "visible": is_offered(name, card) and name not in SHOWN_WITH_PICTURE,
    }
    if name == "start_px":
        below = [(str(px), px) for px in card.targets[:-1]]
        return gr.Radio([(form_strings.START_NEAREST, 0), *below], **common)
    if name == "target":
        return gr.Radio([(str(px), px) for px in card.targets], **common)
    if name == SEED:
        return gr.Textbox(placeholder=labels.PLACEHOLDERS[name], max_lines=1, min_width=80, **common)
    if name == "aspect":
        return gr.Dropdown(list(ASPECTS), allow_custom_value=True, **common)
    if name in CHOICES:
        offered = card.mixers if name == "mixer" else CHOICES[name]
        choices = [(labels.CHOICES[choice], choice) for choice in offered]
        return gr.Dropdown(choices, **common) if len(choices) > 3 else gr.Radio(choices, **common)
    if name in RANGES:
        bounds = RANGES[name]
        return gr.Slider(bounds.minimum, bounds.maximum, step=bounds.step, buttons=[], **common)
    if name == "ladder":
        return gr.Textbox(placeholder=card.ladder or labels.PLACEHOLDERS[name], max_lines=1, **common)
    lines = 3 if name == "prompt" else 2
    return gr.Textbox(
        placeholder=labels.PLACEHOLDERS[name],
        lines=lines,
        max_lines=6,
        **common,
    )


def next_example(prompt: str, card: ModelCard) -> str:
    """Return the card's example after the one that the prompt holds, the first where it holds none."""
    examples = card.examples
    return examples[(examples.index(prompt) + 1) % len(examples)] if prompt in examples else examples[0]


def settings_from(values: Sequence[Any]) -> Settings:
    """Return the settings that the controls hold, in the order of `Form.inputs`; raise BadSetting."""
    given = dict(zip(FIELD_NAMES, values, strict=True))
    for name in ("prompt", "negative_prompt", "ladder", START, "region", "overrides"):
        given[name] = given[name] or ""
    given[SEED] = _seed_from(given[SEED])
    return Settings.from_dict(given)


def _seed_from(value: Any) -> Any:
    """Return a typed seed as a number, an empty one as None; Settings refuses whatever else it is."""
    text = "" if value is None else str(value).strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else text or None


def values_of(settings: Mapping[str, Any], card: ModelCard) -> list[Any]:
    """Return what the controls must hold to say `settings` again, in the order of `Form.inputs`."""
    held = {**initial_values(card), **{name: value for name, value in settings.items() if value is not None}}
    held |= {SEED: str(held[SEED]), "overrides": overrides_text(held["overrides"])}
    return [held[name] for name in FIELD_NAMES]
