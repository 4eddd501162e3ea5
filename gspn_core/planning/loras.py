"""The LoRA files of a run: the prompt's tags joined with the setting, and each name found on the card."""

from __future__ import annotations

import dataclasses
import difflib

from gspn_core.errors import BadSetting, OverBudget
from gspn_core.lora.files import LoraFile, StageLora
from gspn_core.lora.text import combined, loras_text, parse_loras, take_tags
from gspn_core.planning.types import Machine, ModelCard, StagePlan
from gspn_core.settings import Mixer, Override, Settings

# Mixers that stand in for the UNet's self-attention with weights of their own.
REPLACING: tuple[Mixer, ...] = ("gspn", "linear")
_MOST_NAMES = 500


def without_tags(settings: Settings, card: ModelCard) -> Settings:
    """Return the same settings with no tag in a prompt: what the tags name is in `loras`.

    A stage with a prompt of its own has that prompt's tags, and none of the run's prompt.

    Raises:
        BadSetting: a tag cannot be read or names no file of the model, there are too many, or nothing else is
            in a prompt.
    """
    prompt, tags = take_tags(settings.prompt)
    for name, _ in tags:
        _found("prompt", name, card)
    asked = parse_loras(settings.loras)
    loras = loras_text(combined("loras", asked, tags))
    own: dict[tuple[int, str], str] = {
        (override.stage_px, override.name): override.value
        for override in settings.overrides
        if override.name in ("prompt", "loras")
    }
    changed = dict(own)
    for stage_px in {stage_px for stage_px, _ in own}:
        at = (stage_px, "prompt")
        stage_tags = tags
        if at in own:
            changed[at], stage_tags = take_tags(own[at])
        mine = combined("loras", parse_loras(own.get((stage_px, "loras"), settings.loras)), stage_tags)
        if (stage_px, "loras") in own or loras_text(mine) != loras:
            changed[stage_px, "loras"] = loras_text(mine)
    if prompt == settings.prompt and changed == own:
        return settings
    if not prompt:
        raise BadSetting("prompt", "prompt has only LoRA tags; say what the picture should show as well.")
    others = [override for override in settings.overrides if (override.stage_px, override.name) not in own]
    mine = [Override(stage_px=px, name=name, value=value) for (px, name), value in changed.items()]
    return dataclasses.replace(settings, prompt=prompt, loras=loras, overrides=(*others, *mine))


def stage_loras(own: Settings, card: ModelCard) -> tuple[StageLora, ...]:
    """Return the LoRA files of a stage.

    Args:
        own: the stage's settings, without tags.
        card: of the model.

    Raises:
        BadSetting: a file is not there or not of this model, or the model's weights cannot be changed.
    """
    uses = parse_loras(own.loras)
    if not uses:
        return ()
    if card.shapes is not None and card.shapes.unet.quantized is not None:
        scheme = card.shapes.unet.quantized.scheme
        raise BadSetting(
            "loras",
            f"loras cannot be fused into weights in {scheme}; start without --quantize or leave it empty.",
        )
    found = []
    for name, weight in uses:
        file = _found("loras", name, card)
        numbers = file.numbers + (0 if own.mixer in REPLACING else file.self_attention_numbers)
        found.append(StageLora(name, weight, card.loras.digest(name), numbers))
    return tuple(found)


def check_host_memory(stage: StagePlan, machine: Machine) -> None:
    """Check that a GPU's host has room for what is kept there: a control, and weights while files are fused.

    Raises:
        OverBudget: it has not. On a CPU they are in the stage's own predicted bytes.
    """
    control = stage.condition
    if control is not None and machine.device == "cuda":
        kept = control.file.parameters * machine.element_bytes
        if kept > machine.host_bytes:
            raise OverBudget(
                "control",
                f"control: {control.file.name} takes {kept / 1e9:.1f} GB of the host's memory between "
                f"stages, and {machine.host_bytes / 1e9:.1f} GB are free; choose a smaller one.",
            )
    needed = sum(lora.numbers for lora in stage.loras) * machine.element_bytes
    if machine.device == "cuda" and needed > machine.host_bytes:
        raise OverBudget(
            "loras",
            f"loras: the weights that they change take {needed / 1e9:.1f} GB of the host's memory while they "
            f"are fused, and {machine.host_bytes / 1e9:.1f} GB are free; leave some out.",
        )


def _found(field: str, name: str, card: ModelCard) -> LoraFile:
    """Return a model's file by name; raise BadSetting for the field that names it if it cannot be used."""
    files = {file.name: file for file in (() if card.loras is None else card.loras.all())}
    file = files.get(name)
    if file is not None and not file.issue:
        return file
    if file is not None:
        raise BadSetting(field, f"{field}: {name} {file.issue}; choose one that was made for {card.title}.")
    usable = [file.name for file in files.values() if not file.issue]
    by_lower = {known.lower(): known for known in usable[:_MOST_NAMES]}
    near = difflib.get_close_matches(name.lower(), by_lower, n=2, cutoff=0.5)
    near = near or [known for known in by_lower if name.lower() in known or known in name.lower()][:2]
    if near:
        remedy = f"did you mean {' or '.join(by_lower[known] for known in near)}?"
    elif usable:
        remedy = f"there are {', '.join(usable[:4])}{' and others' if len(usable) > 4 else ''}."
    else:
        remedy = "put .safetensors files for it into the folder that --loras names, or leave it out."
    raise BadSetting(field, f"{field}: {card.title} has no LoRA file {name} here; {remedy}")
