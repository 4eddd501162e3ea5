"""Checkpoints that draw in a few steps: what their cards ask for, recognised by name and configuration.

SDXL Turbo (2311.17042), Lightning (2402.13929) and Hyper-SD (2404.13686) take their steps with Euler or DDIM
on trailing timesteps and without guidance, LCM (2310.04378) and TCD (2402.19159) with samplers of their own.
An LCM whose UNet reads the guidance scale (`time_cond_proj_dim`) has learnt it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gspn_core.errors import ModelUnavailable

_STEPS = 4
_MOST_STEPS = 16
# Of LCM-SDXL, whose UNet reads it.
_EMBEDDED_GUIDANCE = 8.0
_NAMED = re.compile(r"(?<![a-z])(turbo|lightning|hyper|lcm|tcd)(?![a-z])")
# Between the words of a name such as DreamShaperXLTurbo.
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_COUNT = re.compile(r"(?<![0-9])([0-9]{1,2})[-_ ]?steps?(?![a-z])")
_SAMPLERS = {"lcm": "lcm", "tcd": "tcd"}
_BY_CLASS = {"LCMScheduler": "lcm", "TCDScheduler": "tcd"}
# Schedulers whose models predict noise or velocity on the diffusion path that all samplers here walk.
_DIFFUSION = frozenset(
    (
        "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
        "DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler", "LCMScheduler", "LMSDiscreteScheduler", "PNDMScheduler", "TCDScheduler",
        "UniPCMultistepScheduler",
    )
)  # fmt: skip


def few_step_values(name: str, scheduler: Mapping[str, Any], unet: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a model's card that a few-step checkpoint has of its own; none for another one.

    Args:
        name: of its file or folder.
        scheduler: its scheduler's configuration; likewise unet.
    """
    named = _NAMED.search(_CAMEL.sub(" ", name).lower())
    kind = _BY_CLASS.get(str(scheduler.get("_class_name"))) or (named[1] if named else None)
    embeds = unet.get("time_cond_proj_dim") is not None
    if kind is None and not embeds:
        return {}
    found = _COUNT.search(name.lower())
    steps = int(found[1]) if found and 1 <= int(found[1]) <= _MOST_STEPS else _STEPS
    return {
        "num_inference_steps": steps,
        "guidance_scale": _EMBEDDED_GUIDANCE if embeds else 1.0,
        "scheduler": "lcm" if embeds else _SAMPLERS.get(str(kind), "euler"),
        "embeds_guidance": embeds,
        "trailing": True,
    }


def check_scheduler(name: str, scheduler: Mapping[str, Any]) -> None:
    """Check that a model was trained on the diffusion path that the samplers here walk.

    Raises:
        ModelUnavailable: its scheduler is of another kind, such as flow matching or EDM.
    """
    kind = scheduler.get("_class_name")
    if kind not in _DIFFUSION:
        raise ModelUnavailable(
            f"model {name} is sampled by {kind}, which is not known here; give an SDXL model that predicts "
            "noise or velocity."
        )
