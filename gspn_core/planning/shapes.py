"""The sizes of networks that memory and time follow from. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gspn_core.planning.quantized import Quantized
from gspn_core.settings import Mixer


@dataclass(frozen=True, kw_only=True)
class UNetShapes:
    """The sizes of a UNet2DConditionModel that memory and time follow from.

    Args:
        channels: of each down block.
        resnets: residual blocks of each down block.
        down: transformer layers of each down block in forward order, 0 where it has none.
        middle: transformer layers of the middle block.
        up: transformer layers of each up block in forward order.
        text_tokens: rows of the prompt's embeddings.
        text_channels: their width.
        sample_side: side of the latents that it was trained at.
        parameters: count of its weights.
        latent_channels: channels of the latents.
        extra_channels: further channels of its input: a mask and the latents of the picture around it.
        quantized: the weights that are stored in fewer bits, if any.
        only_cross: of each down block, whether its layers read the text in place of themselves; () for none.
        tile_side: side of the latents above which it is evaluated in tiles, 0 for never.
    """

    channels: tuple[int, ...]
    resnets: tuple[int, ...]
    down: tuple[int, ...]
    middle: int
    up: tuple[int, ...]
    text_tokens: int
    text_channels: int
    sample_side: int
    parameters: int
    latent_channels: int = 4
    extra_channels: int = 0
    quantized: Quantized | None = None
    only_cross: tuple[bool, ...] = ()
    tile_side: int = 0

    def weight_bytes(self, element_bytes: int) -> int:
        """Return the bytes of the weights; those that are not quantized take element_bytes each."""
        if self.quantized is None:
            return self.parameters * element_bytes
        return (self.parameters - self.quantized.numbers) * element_bytes + self.quantized.kept_bytes


@dataclass(frozen=True, kw_only=True)
class VAEShapes:
    """The sizes of an AutoencoderKL; middle_attention: its middle block attends over all latent pixels."""

    channels: tuple[int, ...]
    resnets: int
    middle_attention: bool
    parameters: int
    latent_channels: int = 4

    @property
    def factor(self) -> int:
        """Return the side in px of the square of the picture that one latent pixel covers."""
        return 2 ** (len(self.channels) - 1)


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """The sizes of a whole model.

    Args:
        unet: of the UNet.
        vae: of the autoencoder.
        text_parameters: count of both text encoders' weights.
        adapter_parameters: count of each mixer's own weights.
        refiner: of the refiner's UNet, if there is one.
        preview_parameters: count of the preview decoder's weights, 0 without one.
        x4: of the x4 upscaler, if there is one.
        other_parameters: count of the weights of the other model that shares the device.
    """

    unet: UNetShapes
    vae: VAEShapes
    text_parameters: int
    adapter_parameters: tuple[tuple[Mixer, int], ...] = ()
    refiner: UNetShapes | None = None
    preview_parameters: int = 0
    x4: Shapes | None = None
    other_parameters: int = 0

    def mixer_parameters(self, mixer: Mixer) -> int:
        """Return the count of a mixer's own weights, 0 for one that runs on the UNet's."""
        return dict(self.adapter_parameters).get(mixer, 0)
