"""Upscaler models of the ESRGAN family, read and run by spandrel (an optional package)."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gspn_core.errors import ModelUnavailable, NotFinite
from gspn_core.superres.tiles import tiled

# As in planning/upscalers.py, which prices a tile of this side.
TILE_PX = 192


class EsrganModels:
    """The upscaler models of a folder; the one that was used last stays loaded.

    Args:
        files: by name.
        device: where they compute, in float32.
    """

    def __init__(self, files: Mapping[str, Path], device: torch.device) -> None:
        self.files, self.device = files, device
        self._name, self._model = "", None

    def enlarge(self, name: str, picture: Image.Image, height: int, width: int) -> Iterator[tuple[int, int]]:
        """Enlarge a picture to height × width px; where the model's scale is another, by Lanczos from there.

        Args:
            name: of the model.
            picture: RGB.
            height: of the result; likewise width.

        Yields:
            The number of each finished tile, from 1, and how many there are.

        Returns:
            The picture, RGB.

        Raises:
            ModelUnavailable: the model's file cannot be loaded.
            NotFinite: it draws values that are not numbers.
        """
        model = self._loaded(name)
        levels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None]
        sample, scale = levels.float() / 255, model.scale
        shape = (1, 3, scale * picture.height, scale * picture.width)
        drawn = yield from tiled(
            lambda tile: model(tile.to(self.device)).cpu(), sample, shape, TILE_PX, (scale, 1), sample.device
        )
        _check_finite(name, drawn)
        pixels = (drawn[0] * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
        image = Image.fromarray(pixels.numpy())
        return image.resize((width, height), Image.Resampling.LANCZOS)

    def _loaded(self, name: str) -> Any:
        if self._name != name:
            self._model = None
            self._model = load_upscaler(self.files[name], self.device)
            self._name = name
        return self._model


def load_upscaler(path: Path, device: torch.device) -> Any:
    """Return a file's model as spandrel describes it, on the device, without gradients.

    Raises:
        ModelUnavailable: spandrel is missing, or does not read the file.
    """
    spandrel = import_spandrel()
    try:
        model = spandrel.MAIN_REGISTRY.load(spandrel.canonicalize_state_dict(load_file(path)))
    except (
        OSError,
        SafetensorError,
        spandrel.UnsupportedModelError,
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise ModelUnavailable(
            f"{path} cannot be loaded as an upscaler model ({_first_line(error)}); copy it again."
        ) from error
    known = isinstance(model, spandrel.ImageModelDescriptor)
    if not known or (model.input_channels, model.output_channels) != (3, 3):
        raise ModelUnavailable(f"{path} does not enlarge RGB pictures; give an upscaler model that does.")
    model.to(device).eval()
    model.model.requires_grad_(False)
    return model


def import_spandrel() -> Any:
    """Return the package spandrel.

    Raises:
        ModelUnavailable: it is not installed, or cannot be imported.
    """
    try:
        with _without_torchvision():
            import spandrel
    except (ImportError, RuntimeError) as error:
        # A torchvision of another torch raises RuntimeError.
        raise ModelUnavailable(
            f"upscaler models need the package spandrel, which cannot be imported ({_first_line(error)}); "
            "install it with `pip install --no-deps spandrel einops`, or start without --upscalers."
        ) from error
    return spandrel


@contextmanager
def _without_torchvision() -> Iterator[None]:
    """Let spandrel be imported in the block where torchvision is not installed.

    It reads three names of torchvision on import, for architectures of another purpose alone, and a
    torchvision must fit the torch that is installed; so it is not asked for.
    """
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    if importlib.util.find_spec(names[0]) is not None:
        yield
        return
    made = {name: types.ModuleType(name) for name in names}
    for name in ("InterpolationMode", "normalize", "rotate"):
        setattr(made[names[-1]], name, None)
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)


def _check_finite(name: str, drawn: Tensor) -> None:
    if not bool(torch.isfinite(drawn).all()):
        raise NotFinite(
            f"the upscaler model {name} draws values that are not numbers; choose another. "
            "Finished stages are kept."
        )


def _first_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:160].rstrip(".")
