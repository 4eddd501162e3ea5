"""A patch discriminator that learns to distinguish rendered from decoded pictures."""

from typing import Any

import torch
from torch import nn

MATCHING_WEIGHT = 1.0
MOST_WEIGHT = 1e3


class Discriminator:
    """A patch discriminator (1611.07004) trained by the hinge loss, on pictures (B, 3, H, W) in [-1, 1]."""

    def __init__(self, *, channels: tuple[int, ...] = (32, 64, 128), learning_rate: float = 4e-4) -> None:
        layers, before = [], 3
        for width in channels:
            norm = [nn.GroupNorm(8, width)] if before > 3 else []
            layers.append(nn.Sequential(nn.Conv2d(before, width, 4, 2, 1), *norm, nn.LeakyReLU(0.2)))
            before = width
        layers.append(nn.Conv2d(before, 1, 3, 1, 1))
        self.net = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=learning_rate, betas=(0.5, 0.9))

    def discriminator_step(self, real: torch.Tensor, decoded: torch.Tensor) -> float:
        """Train it for one step.

            mean relu(1 - D(real)) + mean relu(1 + D(decoded))

        Returns:
            mean D(real) - mean D(decoded) before the step.
        """
        self.net.requires_grad_(True)
        of_real, of_decoded = self.net(real), self.net(decoded.detach())
        loss = nn.functional.relu(1 - of_real).mean() + nn.functional.relu(1 + of_decoded).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float((of_real.mean() - of_decoded.mean()).detach())

    def generator_loss(self, real: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
        """Return the generator loss, which trains only the decoder.

        It includes the distance between the layers' feature maps of the two (feature matching, 1711.11585).
        """
        self.net.requires_grad_(False)
        matching = decoded.new_zeros(())
        for layer in self.net[:-1]:
            with torch.no_grad():
                real = layer(real)
            decoded = layer(decoded)
            matching = matching + nn.functional.l1_loss(decoded, real) / real.abs().mean()
        return MATCHING_WEIGHT * matching - self.net[-1](decoded).mean()

    def state_dict(self) -> dict[str, Any]:
        """Return its weights and its optimizer's state."""
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def adaptive_weight(loss: torch.Tensor, generator_loss: torch.Tensor, last: nn.Parameter) -> float:
    """Return |∇ loss| / |∇ generator loss| at the last layer, at most MOST_WEIGHT (2012.09841, §3.1)."""
    (of_loss,) = torch.autograd.grad(loss, last, retain_graph=True)
    (of_generator,) = torch.autograd.grad(generator_loss, last, retain_graph=True)
    return min(float(of_loss.norm() / (of_generator.norm() + 1e-6)), MOST_WEIGHT)
