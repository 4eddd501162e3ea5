"""Upscaler models of small random weights in the published layouts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file


def need_spandrel() -> None:
    """Skip the test where spandrel is not installed."""
    if importlib.util.find_spec("spandrel") is None:
        pytest.skip("spandrel is not installed: pip install --no-deps spandrel einops")


def _convolution(inputs: int, outputs: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    scale = 1 / (9 * inputs) ** 0.5
    return {
        "weight": scale * torch.randn(outputs, inputs, 3, 3, generator=generator),
        "bias": 0.02 * torch.randn(outputs, generator=generator),
    }


def rrdb_weights(
    scale: int = 4, features: int = 8, blocks: int = 1, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Return the tensors of an RRDBNet as Real-ESRGAN publishes them; scale 2 reads squares of 2 × 2 px."""
    generator, growth = torch.Generator().manual_seed(seed), 32
    layers = {"conv_first": (3 * (4 // scale) ** 2, features)}
    for block in range(blocks):
        for dense in (1, 2, 3):
            for n in range(5):
                outputs = growth if n < 4 else features
                layers[f"body.{block}.rdb{dense}.conv{n + 1}"] = (features + n * growth, outputs)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        layers[name] = (features, features)
    layers["conv_last"] = (features, 3)
    return {
        f"{layer}.{kind}": tensor
        for layer, sizes in layers.items()
        for kind, tensor in _convolution(*sizes, generator).items()
    }


def old_layout(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of `rrdb_weights(blocks=1)` under the names of ESRGAN's first release."""
    places = {
        "conv_first": "model.0",
        "conv_body": "model.1.sub.1",
        "conv_up1": "model.3",
        "conv_up2": "model.6",
        "conv_hr": "model.8",
        "conv_last": "model.10",
    }
    renamed = {}
    for name, tensor in tensors.items():
        layer, kind = name.rsplit(".", 1)
        if layer.startswith("body."):
            _, block, dense, convolution = layer.split(".")
            layer = f"model.1.sub.{block}.{dense.upper()}.{convolution}.0"
        renamed[f"{places.get(layer, layer)}.{kind}"] = tensor
    return renamed


def compact_weights(
    scale: int = 4, features: int = 8, layers: int = 2, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Return the tensors of a compact network (SRVGGNetCompact) as Real-ESRGAN publishes them."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    widths = [3, *[features] * (layers + 1), 3 * scale**2]
    for n, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        own = _convolution(inputs, outputs, generator)
        tensors |= {f"body.{2 * n}.{kind}": tensor for kind, tensor in own.items()}
        if n < len(widths) - 2:
            tensors[f"body.{2 * n + 1}.weight"] = torch.full((outputs,), 0.2)
    return tensors


def write_upscalers(folder: Path) -> Path:
    """Write a folder of three upscaler models: compact ×2, RRDBNet ×4 and, as its last, RRDBNet ×2."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(compact_weights(scale=2), folder / "compact-x2.safetensors")
    save_file(rrdb_weights(scale=4), folder / "rrdb-x4.safetensors")
    save_file(rrdb_weights(scale=2), folder / "rrdb-z2.safetensors")
    return folder
