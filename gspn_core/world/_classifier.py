"""A small classifier of the world's attributes, trained on renders: the stand-in for CLIP and Inception.

Knows which value of each attribute a 256 px picture shows, and the features in which sets of pictures are
compared. Does not know where the pictures come from.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gspn_core.errors import ModelUnavailable
from gspn_core.world._data import VIEW_SCALES, RenderCache, to_sample, view_of
from gspn_core.world._log import Log
from gspn_core.world._loop import Loop, LoopConfig
from gspn_core.world.scene import ATTRIBUTES

CHANNELS = (32, 64, 128, 160)
FEATURES = 32
RESIDUALS = 2
GROUPS = 4
BANDS = 4
BATCH = 24
SHIFT_PX = 12
# A generated picture has gone through an autoencoder: what it shows must be told where it is soft too.
SOFTEST = 4.0
# How soft a picture is and how much detail a pixel holds are asked as well: without that the features would
# forget the texture, and a distance in them would not tell a sharp picture from an enlarged one.
SOFTNESS_WEIGHT = 1.0
DETAIL_WEIGHT = 0.5
# A crop often does not reach what its scene's attributes are about; whole views teach them.
CROP_WEIGHT = 0.2
SMOOTHING = 0.05


class Classifier(nn.Module):
    """A convolutional network from samples (B, 3, H, W) to features (B, F) and logits per attribute.

    choices: the values of each attribute, in the order of their logits. Two more heads only shape the
    features: `detail` tells the scale of the view that a picture was cut from, `softness` by what power of
    two it was made small and large again.
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

        The first maps' means and the strength of the picture's bands stand beside them, as normalising takes
        away how bright a picture is and how strong its texture.
        """
        first = self.conv_in(sample.contiguous(memory_format=torch.channels_last))
        last = self.body(first).float()
        pooled = [first.float().mean((2, 3)), _band_strengths(sample), last.mean((2, 3)), last.amax((2, 3))]
        with torch.autocast(sample.device.type, enabled=False):
            return functional.silu(self.embed(torch.cat(pooled, dim=1)))

    def logits(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return (B, choices) per attribute."""
        return {name: head(features) for name, head in self.heads.items()}

    @property
    def signature(self) -> str:
        """Return a name for what it was built to tell, equal for equal attributes, values and widths."""
        shapes = {name: tuple(weight.shape) for name, weight in self.named_parameters()}
        return hashlib.sha256(json.dumps([self.choices, shapes]).encode()).hexdigest()[:12]


def _band_strengths(sample: torch.Tensor) -> torch.Tensor:
    """Return how strong each channel's Laplacian bands are, finest first, (B, 3·BANDS), about in [-2, 2].

    The log of a band's mean absolute value, which is some hundredths in a render.
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
    """Show pictures, uint8 (H, W, 3) of one size, to the classifier; so many are held at once."""
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


def train_classifier(
    cache: RenderCache, work: Path, config: LoopConfig, *, batch: int = BATCH, seed: int = 0, device="cpu"
) -> Classifier:
    """Train on the cache's pictures, whole views and crops of larger ones; returns the averaged weights.

    Its checkpoint lies in `work` and is resumed. Every picture is moved by some px, half are mirrored (no
    attribute tells a side) and half are softened.
    """
    torch.manual_seed(seed)
    classifier = Classifier().to(device, memory_format=torch.channels_last)
    log = Log(work / "classifier.jsonl")
    loop = Loop({"classifier": classifier}, config, checkpoint(work, classifier))

    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng((seed, number))
        numbers = rng.choice(cache.train_numbers(), size=batch)
        sample = torch.from_numpy(to_sample(cache.images[numbers])).to(device)
        sample, softness = _disturbed(sample, rng)
        truth, scales = _labels(cache, numbers, device)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            found = classifier.features(sample)
        errors = [
            functional.cross_entropy(logits, truth[name], label_smoothing=SMOOTHING, reduction="none")
            for name, logits in classifier.logits(found).items()
        ]
        weights = torch.where(scales == 0, 1.0, CROP_WEIGHT)
        attributes = (torch.stack(errors).mean(dim=0) * weights).sum() / weights.sum()
        sharp = softness == 0
        detail = functional.cross_entropy(classifier.detail(found[sharp]), scales[sharp])
        soft = functional.mse_loss(classifier.softness(found)[:, 0], softness)
        told = {"attributes": attributes, "detail": detail, "softness": soft}
        loss = attributes + DETAIL_WEIGHT * detail + SOFTNESS_WEIGHT * soft
        return loss, {name: float(value.detach()) for name, value in told.items()}

    def on_save() -> None:
        log(step=loop.step, **held_out_accuracy(loop.averages["classifier"], cache)["all"])

    loop.run(step, log, on_save)
    return loop.averages["classifier"].eval()


def load_classifier(work: Path, device: torch.device | str = "cpu") -> Classifier:
    """Read the trained classifier from a work folder; raises ModelUnavailable where there is none."""
    classifier = Classifier()
    path = checkpoint(work, classifier)
    if not path.is_file():
        raise ModelUnavailable(
            f"{work} holds no classifier of this world's attributes; "
            "train one with `python -m gspn_core.world.evaluate classifier`."
        )
    classifier.load_state_dict(torch.load(path, weights_only=True)["averages"]["classifier"])
    return classifier.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


def checkpoint(work: Path, classifier: Classifier) -> Path:
    """Return where the classifier's weights lie; a world of other attributes has another file."""
    return work / f"classifier-{classifier.signature}.pt"


def held_out_accuracy(classifier: Classifier, cache: RenderCache) -> dict[str, dict[str, float]]:
    """Return the share of held-out pictures told right, per attribute: of all, of whole views, of crops."""
    numbers = cache.held_out_numbers()
    views = [view_of(int(number), seed=cache.seed, base_px=cache.base_px) for number in numbers]
    told = [view.scene.attributes() for view in views]
    seen = look(classifier, (cache.images[number] for number in numbers))
    whole = np.array([view.view_px == cache.base_px for view in views])
    right = {
        name: np.array([scene[name] == value for scene, value in zip(told, values, strict=True)])
        for name, values in seen.values.items()
    }
    groups = {"all": np.ones(len(views), dtype=bool), "whole views": whole, "crops": ~whole}
    return {
        group: {name: float(hits[chosen].mean()) for name, hits in right.items()}
        for group, chosen in groups.items()
        if chosen.any()
    }


def _labels(
    cache: RenderCache, numbers: np.ndarray, device: torch.device | str
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return the place of each picture's value per attribute, and of its view's scale."""
    views = [view_of(int(number), seed=cache.seed, base_px=cache.base_px) for number in numbers]
    shown = [view.scene.attributes() for view in views]
    truth = {
        name: torch.tensor([choices.index(told[name]) for told in shown], device=device)
        for name, choices in ATTRIBUTES.items()
    }
    scales = torch.tensor([VIEW_SCALES.index(view.view_px // cache.base_px) for view in views], device=device)
    return truth, scales


def _disturbed(sample: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Move a batch (B, 3, H, W) by some px, mirror half of it by chance and soften its later half.

    Returns: the batch, and by what power of two each picture was made small and large again, (B,).
    """
    height, width = sample.shape[2:]
    reach = min(SHIFT_PX, height - 1, width - 1)
    top, left = (int(offset) for offset in rng.integers(0, 2 * reach + 1, size=2))
    sample = functional.pad(sample, (reach,) * 4, mode="reflect")[
        :, :, top : top + height, left : left + width
    ]
    mirrored = torch.from_numpy(rng.random(len(sample)) < 0.5).to(sample.device)[:, None, None, None]
    sample = torch.where(mirrored, sample.flip(-1), sample)
    power, first = rng.uniform(0, np.log2(SOFTEST)), (len(sample) + 1) // 2
    small = functional.interpolate(
        sample[first:],
        size=[round(side / 2**power) for side in (height, width)],
        mode="bilinear",
        antialias=True,
    )
    soft = functional.interpolate(small, size=(height, width), mode="bicubic").clamp(-1, 1)
    softness = torch.zeros(len(sample), device=sample.device)
    softness[first:] = power
    return torch.cat([sample[:first], soft]), softness
