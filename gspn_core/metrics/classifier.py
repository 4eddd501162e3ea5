"""A small classifier of the world's attributes, trained on renders, used in place of CLIP and Inception.

It predicts the value of each attribute in a 256 px picture; sets of pictures are compared by its features.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from gspn_core.errors import ModelUnavailable
from gspn_core.metrics.samples import VIEW_SCALES, to_sample
from gspn_core.world.scene import ATTRIBUTES

CHANNELS = (32, 64, 128, 160)
FEATURES = 32
RESIDUALS = 2
GROUPS = 4
BANDS = 4


class Classifier(nn.Module):
    """A convolutional network from samples (B, 3, H, W) to features (B, F) and logits per attribute.

    choices: the values of each attribute, in the order of their logits. Two more heads only shape the
    features: `detail` predicts the scale of the view that a picture was cut from, `softness` the power of
    two by which it was made small and large again.
    """

    def __init__(
        self,
        choices: Mapping[str, Sequence[str]] = ATTRIBUTES,
        channels: Sequence[int] = CHANNELS,
        features: int = FEATURES,
    ) -> None:
        super().__init__()
        self.choices = {name: tuple(values) for name, values in choices.items()}
        self.conv_in = nn.Conv2d(3, channels[0], 7, stride=4, padding=3)
        steps: list[nn.Module] = []
        for before, after in zip(channels, channels[1:], strict=False):
            steps += [_Down(before, after), *(_Residual(after) for _ in range(RESIDUALS))]
        self.body = nn.Sequential(*steps)
        self.embed = nn.Linear(channels[0] + 3 * BANDS + 2 * channels[-1], features)
        self.heads = nn.ModuleDict({name: nn.Linear(features, len(v)) for name, v in self.choices.items()})
        self.detail = nn.Linear(features, len(VIEW_SCALES))
        self.softness = nn.Linear(features, 1)

    def features(self, sample: torch.Tensor) -> torch.Tensor:
        """Return features (B, F), float32: the last maps' means and maxima and more, through one layer.

        They include the first maps' means and the strength of the picture's frequency bands, since
        normalisation removes brightness and the strength of texture.
        """
        first = self.conv_in(sample.contiguous(memory_format=torch.channels_last))
        last = self.body(first).float()
        pooled = [first.float().mean((2, 3)), _band_strengths(sample), last.mean((2, 3)), last.amax((2, 3))]
        with torch.autocast(sample.device.type, enabled=False):
            return functional.silu(self.embed(torch.cat(pooled, dim=1)))

    def maps(self, sample: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the maps (B, C, h, w) after the first convolution and after each block, largest first."""
        found = self.conv_in(sample.contiguous(memory_format=torch.channels_last))
        yield found
        for block in self.body:
            found = block(found)
            yield found

    def logits(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return (B, choices) per attribute."""
        return {name: head(features) for name, head in self.heads.items()}

    @property
    def signature(self) -> str:
        """Return a digest of what it predicts: its attributes, their values and its widths."""
        shapes = {name: tuple(weight.shape) for name, weight in self.named_parameters()}
        return hashlib.sha256(json.dumps([self.choices, shapes]).encode()).hexdigest()[:12]


def _band_strengths(sample: torch.Tensor) -> torch.Tensor:
    """Return the strength of each channel's Laplacian bands, finest first, (B, 3·BANDS), about in [-2, 2].

    The log of a band's mean absolute value, which is a few hundredths in a render.
    """
    strengths = []
    for _ in range(BANDS):
        small = functional.avg_pool2d(sample, 2)
        band = sample - functional.interpolate(small, size=sample.shape[2:], mode="bilinear")
        strengths.append(0.5 * (band.abs().mean((2, 3)) + 1e-3).log() + 1.5)
        sample = small
    return torch.cat(strengths, dim=1)


class _Down(nn.Sequential):
    def __init__(self, before: int, after: int) -> None:
        norm = nn.GroupNorm(GROUPS, before)
        super().__init__(norm, nn.SiLU(), nn.Conv2d(before, after, 3, stride=2, padding=1))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(GROUPS, channels), nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + self.conv(functional.silu(self.norm(maps)))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the classifier sees in N pictures: features float64 (N, F), the likeliest value per attribute."""

    features: np.ndarray
    values: Mapping[str, tuple[str, ...]]


@torch.inference_mode()
def look(classifier: Classifier, pictures: Iterable[np.ndarray], batch: int = 32) -> Seen:
    """Classify pictures, uint8 (H, W, 3) of one size, in batches."""
    device = next(classifier.parameters()).device
    features, values = [], {name: [] for name in classifier.choices}
    for part in _batches(pictures, batch):
        sample = torch.from_numpy(to_sample(np.stack(part))).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            found = classifier.features(sample)
        features.append(found.double().cpu().numpy())
        for name, logits in classifier.logits(found).items():
            values[name] += [classifier.choices[name][place] for place in logits.argmax(dim=1).tolist()]
    if not features:
        raise ValueError("the classifier was shown no picture; give it one or more.")
    return Seen(
        features=np.concatenate(features), values={name: tuple(found) for name, found in values.items()}
    )


def _batches(pictures: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    rest = iter(pictures)
    while part := list(islice(rest, size)):
        yield part


def save_classifier(classifier: Classifier, path: Path) -> None:
    """Write a classifier's weights in float16 as one file, with its signature."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.half().contiguous() for name, weight in classifier.state_dict().items()}
    save_file(weights, path, metadata={"signature": classifier.signature})


def read_classifier(path: Path, device: torch.device | str = "cpu") -> Classifier:
    """Read the file that `save_classifier` wrote; raise ModelUnavailable if it is missing or damaged."""
    classifier = Classifier()
    try:
        with safe_open(path, "pt") as file:
            signature = (file.metadata() or {}).get("signature")
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelUnavailable(f"The classifier {path} cannot be read: {error}.") from error
    if signature != classifier.signature:
        raise ModelUnavailable(
            f"The classifier {path} predicts other attributes than this world's; "
            "train one with `python -m gspn_core.evaluation classifier`."
        )
    classifier.load_state_dict(weights)
    return ready(classifier, device)


def ready(classifier: Classifier, device: torch.device | str) -> Classifier:
    """Move a classifier to a device for inference."""
    return classifier.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
