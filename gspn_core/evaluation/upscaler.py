"""An upscaler model, such as Real-ESRGAN, read from a file by the optional package spandrel."""

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from gspn_core.errors import ModelUnavailable
from gspn_core.evaluation.crops import ENLARGED
from gspn_core.superres.esrgan import import_spandrel


class Upscaler:
    """Enlarges pictures with a network that takes and returns RGB (B, 3, H, W) in [0, 1].

    fingerprint: identifies the weights.
    """

    def __init__(
        self, network: Callable[[torch.Tensor], torch.Tensor], device: torch.device | str, fingerprint: str
    ) -> None:
        self.network, self.device, self.fingerprint = network, device, fingerprint

    @torch.inference_mode()
    def enlarge(self, base: Image.Image, px: int) -> Image.Image:
        """Apply the network until a width of `px` is reached, then shrink to it by Lanczos."""
        image = base
        while image.width < px:
            before = image.width
            image = self._once(image)
            if image.width <= before:
                raise ModelUnavailable(
                    f"the upscaler model returns {image.width} px for {before} px; give one that enlarges."
                )
        height = round(base.height * px / base.width)
        return image if image.width == px else image.resize((px, height), ENLARGED["lanczos"])

    def _once(self, image: Image.Image) -> Image.Image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).to(self.device)
        sample = self.network(pixels.permute(2, 0, 1)[None].float() / 255)[0]
        levels = sample.float().mul(255).round().clamp(0, 255).to(torch.uint8)
        return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def why_no_upscaler(path: Path | None) -> str | None:
    """Return one sentence why no upscaler model can be compared, None if one can."""
    if path is None:
        return "No upscaler model is compared: give a Real-ESRGAN file with --esrgan."
    if find_spec("spandrel") is None:
        return f"No upscaler model is compared: {path.name} needs the package spandrel; install it."
    return None


def read_upscaler(path: Path, device: torch.device | str) -> Upscaler:
    """Read an upscaler's weights from a .safetensors or .pth file; code in a .pth file is not run.

    Raises:
        ModelUnavailable: the file cannot be read, or spandrel does not know its architecture.
    """
    spandrel = import_spandrel()
    try:
        weights = (
            load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        )
        found = spandrel.ModelLoader().load_from_state_dict(weights)
    except Exception as error:
        # A damaged file makes either reader raise any kind of exception.
        raise ModelUnavailable(f"The upscaler model {path} cannot be read: {error}.") from error
    fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
    return Upscaler(found.to(device).eval(), device, fingerprint)
