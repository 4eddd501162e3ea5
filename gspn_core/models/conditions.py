"""Load a ControlNet or a T2I-Adapter from its folder; only safetensors are read."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ControlNetModel, ControlNetUnionModel, T2IAdapter
from safetensors import SafetensorError
from torch import nn

from gspn_core.errors import ModelUnavailable
from gspn_core.models.quiet import quiet_libraries
from gspn_core.models.weights import part_weights
from gspn_core.planning.conditions import ConditionFile, ConditionKind

NETWORKS: dict[ConditionKind, type] = {
    "ControlNet": ControlNetModel,
    "ControlNet-Union": ControlNetUnionModel,
    "T2I-Adapter": T2IAdapter,
}


def load_condition(file: ConditionFile, *, dtype: torch.dtype) -> nn.Module:
    """Return a network on the host, in a dtype, in eval mode and without gradients.

    Raises:
        ModelUnavailable: its files are missing, damaged, or do not match its configuration.
    """
    folder = Path(file.path)
    try:
        weights = part_weights(folder, prefer_half=dtype != torch.float32)
        with quiet_libraries():
            network, report = NETWORKS[file.kind].from_pretrained(
                folder,
                dtype=dtype,
                variant=weights.variant,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelUnavailable(
            f"the {file.kind} {file.name} cannot be loaded ({reason}); copy its folder again."
        ) from error
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if missing:
        raise ModelUnavailable(
            f"the {file.kind} {file.name} lacks {missing[0]} and {len(missing) - 1} more tensors of its "
            "configuration; copy its folder again."
        )
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
