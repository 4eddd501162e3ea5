"""Three presets of time against quality: they set steps, sizes and sampler, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gspn_core.planning.types import ModelCard
from gspn_core.settings import FIELD_NAMES
from ui.shared.strings import form_strings, labels

# Shares of a model's usual steps.
_DRAFT, _FINE = 1 / 3, 1.5


def preset_values(card: ModelCard) -> Mapping[str, Mapping[str, Any]]:
    """Return the settings of each preset by its name; "balanced" has the model's own.

    A draft reaches the usual size by the model's super-resolution network, half of it where there is none.
    """
    usual, targets = card.num_inference_steps, card.targets
    at = targets.index(card.default_target_px)

    # A student that draws without guidance was trained for just its few steps.
    fixed = card.guidance_scale == 1.0

    one_pass = card.has_superres and targets[at] in (2 * card.base_px, 4 * card.base_px)

    def values(share: float, target: int, ladder: str = card.ladder) -> Mapping[str, Any]:
        steps = usual if fixed else max(1, round(usual * share))
        own = {"num_inference_steps": steps, "target": target, "scheduler": card.scheduler}
        # Only where presets differ in the stage sizes do they set them.
        return {**own, "ladder": ladder} if one_pass else own

    below = targets[max(0, at - 1)]
    draft = (targets[at], f"{card.base_px} sr:{targets[at]}") if one_pass else (below,)
    return {
        "draft": values(_DRAFT, *draft),
        "balanced": values(1.0, targets[at]),
        "fine": values(_FINE, targets[min(len(targets) - 1, at + 1)]),
    }


def preset_of(values: Sequence[Any], card: ModelCard) -> str:
    """Return the preset that a form holds, "" for none; values: as `Form.inputs` has them."""
    held = dict(zip(FIELD_NAMES, values, strict=True))
    known = preset_values(card).items()
    held["ladder"] = held["ladder"] or card.ladder
    return next((name for name, own in known if all(held[field] == own[field] for field in own)), "")


def preset_props(card: ModelCard) -> list[dict[str, str]]:
    """Return the buttons of the presets, ready for JSON."""
    return [
        {"name": name, "label": form_strings.PRESETS[name], "title": does(own)}
        for name, own in preset_values(card).items()
    ]


def does(values: Mapping[str, Any]) -> str:
    """Return in words what a preset sets."""
    return form_strings.preset_does(
        values["num_inference_steps"],
        values["target"],
        labels.choice(values["scheduler"]),
        one_pass="sr:" in values.get("ladder", ""),
    )
