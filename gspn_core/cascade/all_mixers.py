"""A model with every mixer there is, so that what they cost can be measured side by side.

A mixer for which the model has no trained weights gets random ones: they cost the same, and no one sees what
they draw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch

from gspn_core.attention.adapter import MixerAdapter, self_attentions
from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.attention.linear_adapter import LinearAdapter
from gspn_core.backbones.model import Model
from gspn_core.runtime.machine import free_host_bytes
from gspn_core.settings import Mixer

_ADAPTERS: dict[Mixer, type[MixerAdapter]] = {"gspn": GSPNAdapter, "linear": LinearAdapter}
# Random mixers may take this share of the free memory; the rest is for the maps.
_MEMORY_SHARE = 0.25


def with_all_mixers(model: Model) -> tuple[Model, int]:
    """Return the same loaded model with all mixers on its card, and the bytes of the weights that were added.

    Without the memory for random weights, or a size that the UNet was trained at, a mixer is left out.
    """
    unet = model.pipeline.unet
    # A mixer has about as many weights as the attention that it replaces.
    bound = 2 * sum(_bytes(layer.parameters()) for layer in self_attentions(unet).values())
    added: dict[Mixer, MixerAdapter] = {}
    for mixer, kind in _ADAPTERS.items():
        if mixer not in model.adapters and bound <= _MEMORY_SHARE * _free_bytes(unet.device):
            added[mixer] = kind.construct_for(unet).requires_grad_(False)
            added[mixer].trained = True
    adapters = {**model.adapters, **added}
    able = {
        "attention": True,
        "neighborhood": bool(unet.config.sample_size),
        **{mixer: mixer in adapters for mixer in _ADAPTERS},
    }
    mixers = model.card.mixers + tuple(m for m, can in able.items() if can and m not in model.card.mixers)
    card = dataclasses.replace(model.card, mixers=mixers)
    weights = sum(_bytes(adapter.parameters()) for adapter in added.values())
    return dataclasses.replace(model, card=card, adapters=adapters), weights


def _bytes(parameters: Iterable[torch.Tensor]) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def _free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_host_bytes()
