"""Weights on disk: which files hold a part, whether they are complete, how much memory they need. No torch.

Only safetensors are loaded. A pickled file could run code when it is read, so it is refused by its name.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gspn_core.errors import ModelUnavailable

PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_MAX_HEADER_BYTES = 100_000_000
_FIRST_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"


@dataclass(frozen=True, kw_only=True)
class PartWeights:
    """The weight files of one part.

    Args:
        variant: Such as fp16, None for the plain one.
        files: One, or all shards.
        count: How many numbers they hold.
    """

    variant: str | None
    files: tuple[Path, ...]
    count: int

    @property
    def file_bytes(self) -> int:
        """Return how many bytes the files have."""
        return sum(path.stat().st_size for path in self.files)


def read_header(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the header of a safetensors file: dtype, shape and place of each tensor.

    Raises:
        ModelUnavailable: The file cannot be read, is incomplete or is in another format.
    """
    refuse_pickled(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            first = stream.read(8)
            length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
            if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
                raise ModelUnavailable(f"{path} is cut off ({size:,} bytes are there); copy it again.")
            header = json.loads(stream.read(length))
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        end = 8 + length + max((value["data_offsets"][1] for value in tensors.values()), default=0)
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read ({error.strerror}); copy it again.") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelUnavailable(f"{path} is not a valid safetensors file; copy it again.") from error
    if size != end:
        raise ModelUnavailable(f"{path} has {size:,} of its {end:,} bytes; copy it again.")
    return tensors


def count_of(tensors: Mapping[str, Mapping[str, Any]]) -> int:
    """Return how many numbers a file's tensors hold."""
    return sum(math.prod(value["shape"]) for value in tensors.values())


def part_weights(folder: Path, *, prefer_half: bool = False) -> PartWeights:
    """Return the weights of a part's folder.

    Args:
        folder: The part's.
        prefer_half: Take the fp16 files if both they and the full ones are there.

    Raises:
        ModelUnavailable: There are none, or one is missing or incomplete.
    """
    if not folder.is_dir():
        raise ModelUnavailable(f"{folder} is not there; copy the whole model again.")
    found: dict[str | None, list[Path]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        match = re.fullmatch(
            r"(?:diffusion_pytorch_)?model(?:\.(\w+?))?(?:-\d+-of-\d+)?\.safetensors", path.name
        )
        if match:
            found.setdefault(match[1], []).append(path)
    if not found:
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
        if pickled:
            refuse_pickled(folder / pickled[0])
        raise ModelUnavailable(f"{folder} holds no .safetensors weights; copy the whole model again.")
    wanted = ("fp16", None) if prefer_half else (None, "fp16")
    variant = next(name for name in (*wanted, *found) if name in found)
    files = tuple(found[variant])
    shards = re.search(r"-of-(\d+)\.", files[0].name)
    if shards and len(files) != int(shards[1]):
        raise ModelUnavailable(
            f"{folder} has {len(files)} of {int(shards[1])} weight files; copy the whole model again."
        )
    return PartWeights(variant=variant, files=files, count=sum(count_of(read_header(file)) for file in files))


def refuse_pickled(path: Path) -> None:
    """Raise ModelUnavailable for a file in a format that can hold a program."""
    if path.suffix.lower() in PICKLED:
        raise ModelUnavailable(
            f"{path} is a pickled file, which can hold a program and is never loaded; "
            "give the model's .safetensors instead."
        )


def first_channels(path: Path) -> int:
    """Return the input channels of the UNet of a checkpoint in one file.

    Raises:
        ModelUnavailable: The file cannot be read or has no UNet.
    """
    shape = read_header(path).get(_FIRST_CONVOLUTION, {}).get("shape", ())
    if len(shape) != 4:
        raise ModelUnavailable(f"{path} has no UNet of SDXL; give a whole checkpoint.")
    return shape[1]
