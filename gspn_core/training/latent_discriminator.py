"""A discriminator of latents: small heads on the features of the frozen teacher UNet.

It sees latents at a noise level, with their caption, as the teacher does (latent adversarial diffusion
distillation, Sauer et al., 2403.12015), so that no picture needs to be decoded.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

LEARNING_RATE = 1e-3
# Takes noisy latents (B, 4, h, w), timesteps (B,) and captions; runs the teacher's UNet.
Run = Callable[[torch.Tensor, torch.Tensor, list[str]], torch.Tensor]


class LatentDiscriminator:
    """Heads on the outputs of a UNet's blocks, trained by the hinge loss."""

    def __init__(self, unet: UNet2DConditionModel, run: Run) -> None:
        """Make the heads; `unet` is the one that `run` runs, its weights do not change."""
        widths = [*unet.config.block_out_channels, *reversed(unet.config.block_out_channels)]
        self._blocks = [*unet.down_blocks, *unet.up_blocks]
        self._run = run
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(8, width), nn.Conv2d(width, 64, 1), nn.SiLU(), nn.Conv2d(64, 64, 3, 1, 1),
                nn.SiLU(), nn.Conv2d(64, 1, 1),
            )
            for width in widths
        )  # fmt: skip
        self.optimizer = torch.optim.AdamW(self.heads.parameters(), lr=LEARNING_RATE, betas=(0.0, 0.99))

    def features(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, captions: list[str]
    ) -> list[torch.Tensor]:
        """Return the outputs of the teacher's blocks for latents (B, 4, h, w), with their graph."""
        kept: list[torch.Tensor] = []

        def keep(_block: nn.Module, _inputs: Any, output: Any) -> None:
            kept.append(output[0] if isinstance(output, tuple) else output)

        hooks = [block.register_forward_hook(keep) for block in self._blocks]
        try:
            self._run(noisy, timesteps, captions)
        finally:
            for hook in hooks:
                hook.remove()
        return kept

    def _scores(self, features: list[torch.Tensor]) -> Iterator[torch.Tensor]:
        for head, feature in zip(self.heads, features, strict=True):
            # Contiguous: with channels-last maps the backward pass ends the process in torch 2.13.
            yield head(feature.float().contiguous())

    def generator_loss(self, drawn: list[torch.Tensor]) -> torch.Tensor:
        """Return -mean D of features with gradient; the heads' own weights get none."""
        self.heads.requires_grad_(False)
        return -torch.stack([score.mean() for score in self._scores(drawn)]).mean()

    def discriminator_step(self, real: list[torch.Tensor], drawn: list[torch.Tensor]) -> float:
        """Train the heads for one step: mean relu(1 - D(real)) + mean relu(1 + D(drawn)).

        Returns:
            mean D(real) - mean D(drawn) before the step.
        """
        self.heads.requires_grad_(True)
        losses, gaps = [], []
        pairs = zip(
            self._scores([f.detach() for f in real]), self._scores([f.detach() for f in drawn]), strict=True
        )
        for of_real, of_drawn in pairs:
            losses.append(nn.functional.relu(1 - of_real).mean() + nn.functional.relu(1 + of_drawn).mean())
            gaps.append((of_real.mean() - of_drawn.mean()).detach())
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).mean().backward()
        self.optimizer.step()
        return float(torch.stack(gaps).mean())

    def state_dict(self) -> dict[str, Any]:
        """Return the heads' weights and their optimizer's state."""
        return {"heads": self.heads.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take over what `state_dict` returned."""
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
