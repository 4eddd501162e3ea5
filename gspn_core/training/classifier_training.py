"""Train the classifier of the world's attributes on renders, and measure its accuracy."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from gspn_core.errors import ModelUnavailable
from gspn_core.metrics.classifier import Classifier, look, ready
from gspn_core.metrics.samples import VIEW_SCALES, to_sample
from gspn_core.training.data import RenderCache, view_of
from gspn_core.training.log import Log
from gspn_core.training.loop import Loop, LoopConfig
from gspn_core.world.scene import ATTRIBUTES

BATCH = 24
SHIFT_PX = 12
# Generated pictures have passed an autoencoder, so attributes must be recognised in softened pictures too.
SOFTEST = 4.0
# Softness and detail are learnt as well: otherwise the features would lose the texture, and their distance
# would be equal for a sharp picture and an enlarged one.
SOFTNESS_WEIGHT = 1.0
DETAIL_WEIGHT = 0.5
# A crop often does not show its scene's attributes, so they are learnt from whole views.
CROP_WEIGHT = 0.2
SMOOTHING = 0.05


def train_classifier(
    cache: RenderCache, work: Path, config: LoopConfig, *, batch: int = BATCH, seed: int = 0, device="cpu"
) -> Classifier:
    """Train on the cache's pictures, whole views and crops of larger ones; return the averaged weights.

    It resumes from its checkpoint in `work`. Every picture is shifted by some px, half are mirrored (no
    attribute depends on the side) and half are softened.
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
        parts = {"attributes": attributes, "detail": detail, "softness": soft}
        loss = attributes + DETAIL_WEIGHT * detail + SOFTNESS_WEIGHT * soft
        return loss, {name: float(value.detach()) for name, value in parts.items()}

    def evaluate() -> None:
        log(step=loop.step, **held_out_accuracy(loop.averages["classifier"], cache)["all"])

    loop.run(step, log, evaluate)
    return loop.averages["classifier"].eval()


def load_classifier(work: Path, device: torch.device | str = "cpu") -> Classifier:
    """Read the trained classifier from a work folder; raise ModelUnavailable if there is none."""
    classifier = Classifier()
    path = checkpoint(work, classifier)
    if not path.is_file():
        raise ModelUnavailable(
            f"{work} holds no classifier of this world's attributes; "
            "train one with `python -m gspn_core.evaluation classifier`."
        )
    classifier.load_state_dict(torch.load(path, weights_only=True)["averages"]["classifier"])
    return ready(classifier, device)


def checkpoint(work: Path, classifier: Classifier) -> Path:
    """Return the file of the classifier's checkpoint; it depends on the world's attributes."""
    return work / f"classifier-{classifier.signature}.pt"


def held_out_accuracy(classifier: Classifier, cache: RenderCache) -> dict[str, dict[str, float]]:
    """Return the accuracy on held-out pictures, per attribute: of all, of whole views, of crops."""
    numbers = cache.held_out_numbers()
    views = [view_of(int(number), seed=cache.seed, base_px=cache.base_px) for number in numbers]
    truth = [view.scene.attributes() for view in views]
    seen = look(classifier, (cache.images[number] for number in numbers))
    whole = np.array([view.view_px == cache.base_px for view in views])
    right = {
        name: np.array([scene[name] == value for scene, value in zip(truth, values, strict=True)])
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
    """Return the index of each picture's value per attribute, and of its view's scale."""
    views = [view_of(int(number), seed=cache.seed, base_px=cache.base_px) for number in numbers]
    shown = [view.scene.attributes() for view in views]
    truth = {
        name: torch.tensor([choices.index(each[name]) for each in shown], device=device)
        for name, choices in ATTRIBUTES.items()
    }
    scales = torch.tensor([VIEW_SCALES.index(view.view_px // cache.base_px) for view in views], device=device)
    return truth, scales


def _disturbed(sample: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift a batch (B, 3, H, W) by some px, mirror a random half and soften the second half.

    Returns: the batch, and the power of two by which each picture was shrunk and enlarged, (B,).
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
