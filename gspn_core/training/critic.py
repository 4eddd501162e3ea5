"""A critic of patches: learns to tell drawn pictures from decoded ones, and so what a decoder leaves out.

Knows pictures and its own training; does not know the autoencoder.
"""

from typing import Any

import torch
from torch import nn

MATCHING_WEIGHT = 1.0
MOST_WEIGHT = 1e3


class Critic:
    """A patch discriminator (1611.07004) trained by the hinge loss.

    `judge` trains it; `complaint` is what it holds against decoded pictures: (B, 3, H, W) in [-1, 1].
    """

    def __init__(self, *, channels: tuple[int, ...] = (32, 64, 128), learning_rate: float = 4e-4) -> None:
        layers, before = [], 3
        for width in channels:
            norm = [nn.GroupNorm(8, width)] if before > 3 else []
            layers.append(nn.Sequential(nn.Conv2d(before, width, 4, 2, 1), *norm, nn.LeakyReLU(0.2)))
            before = width
        layers.append(nn.Conv2d(before, 1, 3, 1, 1))
        self.net = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=learning_rate, betas=(0.5, 0.9))

    def judge(self, drawn: torch.Tensor, decoded: torch.Tensor) -> float:
        """Take one step towards telling them apart. Return how far apart it held them before it."""
        self.net.requires_grad_(True)
        for_drawn, for_decoded = self.net(drawn), self.net(decoded.detach())
        loss = nn.functional.relu(1 - for_drawn).mean() + nn.functional.relu(1 + for_decoded).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float((for_drawn.mean() - for_decoded.mean()).detach())

    def complaint(self, drawn: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
        """Return a loss that falls as decoded pictures pass for drawn ones; it does not train the critic.

        What its layers see in the two counts as well as its verdict (feature matching, 1711.11585).
        """
        self.net.requires_grad_(False)
        matching = decoded.new_zeros(())
        for layer in self.net[:-1]:
            with torch.no_grad():
                drawn = layer(drawn)
            decoded = layer(decoded)
            matching = matching + nn.functional.l1_loss(decoded, drawn) / drawn.abs().mean()
        return MATCHING_WEIGHT * matching - self.net[-1](decoded).mean()

    def state_dict(self) -> dict[str, Any]:
        """Return its weights and its optimizer's state."""
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def balance(loss: torch.Tensor, complaint: torch.Tensor, last: nn.Parameter) -> float:
    """Return what makes a complaint's gradient on the last layer as long as the loss's (2012.09841)."""
    (of_loss,) = torch.autograd.grad(loss, last, retain_graph=True)
    (of_complaint,) = torch.autograd.grad(complaint, last, retain_graph=True)
    return min(float(of_loss.norm() / (of_complaint.norm() + 1e-6)), MOST_WEIGHT)
