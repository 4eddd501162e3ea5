"""Quantized weights: what `--quantize` takes, what that saves, and diffusers' configuration of it.

Only the linear layers of the UNet's transformers are quantized, which are most of its weights;
convolutions, norms and the time embeddings keep their dtype. Importing this loads no torch and no package.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gspn_core.errors import ModelUnavailable
from gspn_core.models.weights import part_weights, read_header
from gspn_core.planning.quantized import Quantized

# Linear layers outside of the transformers, as diffusers names them and as checkpoints in one file do.
NOT_QUANTIZED = ("time_embedding", "add_embedding", "time_emb_proj")
_OUTSIDE = (*NOT_QUANTIZED, "time_embed.", "label_emb.", "emb_layers.")
_FILE_PREFIX = "model.diffusion_model."


@dataclass(frozen=True, kw_only=True)
class LinearLayers:
    """The linear layers of a UNet's transformers: how many, the numbers in their weights and their rows."""

    layers: int
    numbers: int
    rows: int


# SDXL 1.0's own, and its refiner's, counted from their configurations.
SDXL_LINEAR = LinearLayers(layers=722, numbers=2_207_744_000, rows=1_436_160)
REFINER_LINEAR = LinearLayers(layers=462, numbers=1_399_455_744, rows=913_920)


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A quantization of weights.

    Args:
        name: As `--quantize` takes it.
        package: Which package computes with it.
        least: The oldest version of that package that does.
        bits: Of one weight.
        row_bytes: Of the scales of a row.
        block_bytes: Of the scales of each block of 64 weights.
        dtypes: What the rest of the model may run in, the default first.
        needs_gpu: It runs on a GPU only.
        by_layer: Single layers may be offloaded.
    """

    name: str
    package: str
    least: tuple[int, int]
    bits: int
    row_bytes: int = 0
    block_bytes: float = 0.0
    dtypes: tuple[str, ...] = ("bfloat16",)
    needs_gpu: bool = False
    by_layer: bool = True

    def quantized(self, linear: LinearLayers) -> Quantized:
        """Return what these layers take in this scheme."""
        scales = linear.rows * self.row_bytes + linear.numbers / 64 * self.block_bytes
        return Quantized(
            scheme=self.name,
            package=self.package,
            layers=linear.layers,
            numbers=linear.numbers,
            kept_bytes=linear.numbers * self.bits // 8 + math.ceil(scales),
            by_layer=self.by_layer,
        )


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            Scheme(name="int8", package="torchao", least=(0, 15), bits=8, row_bytes=4),
            Scheme(name="float8", package="torchao", least=(0, 15), bits=8, row_bytes=4),
            # Four bits by a normal distribution's quantiles, with scales of 8 bits for 64 weights, and scales
            # of their own for 256 of those.
            Scheme(
                name="nf4",
                package="bitsandbytes",
                least=(0, 43),
                bits=4,
                block_bytes=1 + 4 / 256,
                dtypes=("bfloat16", "float16"),
                needs_gpu=True,
                by_layer=False,
            ),
        )
    }
)


def find_scheme(name: str) -> Scheme:
    """Return the scheme of that name.

    Raises:
        ModelUnavailable: There is none of that name, or its package is missing or too old.
    """
    scheme = SCHEMES.get(name)
    if scheme is None:
        raise ModelUnavailable(f"quantize must be one of {', '.join(SCHEMES)}, got {name!r}.")
    least = ".".join(map(str, scheme.least))
    remedy = f"install it with `pip install '{scheme.package}>={least}'`, or start without --quantize."
    if importlib.util.find_spec(scheme.package) is None:
        raise ModelUnavailable(
            f"weights in {name} need the package {scheme.package}, which is not installed; {remedy}"
        )
    version = metadata.version(scheme.package)
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < scheme.least:
        raise ModelUnavailable(
            f"weights in {name} need {scheme.package} {least} or newer, got {version}; {remedy}"
        )
    return scheme


def scheme_dtype(scheme: Scheme, requested: str, *, on_gpu: bool) -> str:
    """Return the dtype that the rest of the model runs in.

    Raises:
        ModelUnavailable: The scheme needs a GPU, or does not run with the requested dtype.
    """
    if scheme.needs_gpu and not on_gpu:
        raise ModelUnavailable(
            f"weights in {scheme.name} run on a GPU only; use --quantize int8, which runs anywhere."
        )
    if requested == "auto":
        return scheme.dtypes[0]
    if requested not in scheme.dtypes:
        raise ModelUnavailable(
            f"weights in {scheme.name} run with {' or '.join(scheme.dtypes)}, got --dtype {requested}; omit "
            "--dtype."
        )
    return requested


def diffusers_config(scheme: Scheme, dtype: Any) -> Any:
    """Return what diffusers' `from_pretrained` takes as quantization_config.

    Args:
        scheme: Of the linear layers.
        dtype: The torch dtype of the rest.
    """
    if scheme.package == "bitsandbytes":
        from diffusers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=scheme.name,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=list(NOT_QUANTIZED),
        )
    from diffusers import TorchAoConfig
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    kinds = {"int8": Int8WeightOnlyConfig, "float8": Float8WeightOnlyConfig}
    return TorchAoConfig(kinds[scheme.name](), modules_to_not_convert=list(NOT_QUANTIZED))


def linear_layers(path: Path) -> LinearLayers:
    """Return the linear layers of a UNet's folder, or of a checkpoint in one file, from its headers.

    Raises:
        ModelUnavailable: There are no complete weights.
    """
    if path.is_file():
        tensors = read_header(path).items()
        shapes = {name: value["shape"] for name, value in tensors if name.startswith(_FILE_PREFIX)}
    else:
        files = part_weights(path).files
        shapes = {name: value["shape"] for file in files for name, value in read_header(file).items()}
    found = [shape for name, shape in shapes.items() if len(shape) == 2 and not _is_any(_OUTSIDE, name)]
    return LinearLayers(
        layers=len(found), numbers=sum(map(math.prod, found)), rows=sum(shape[0] for shape in found)
    )


def _is_any(marks: Iterable[str], name: str) -> bool:
    return any(mark in name for mark in marks)
