"""The recipe of the embedded model: every number that training needs in addition to its pictures."""

from dataclasses import dataclass
from pathlib import Path

from gspn_core.errors import BadSetting
from gspn_core.training.loop import LoopConfig
from gspn_core.training.nets import NetConfig
from gspn_core.training.trajectories import Sampler


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Sizes, rates and minutes of all parts. vae_crop_px is the side of a crop that the autoencoder sees.

    corpus_captions: how many captions the tokenizer learns its pairs from.
    start: the folder of an earlier model to start from; None for random weights.
    layerwise_share and on_policy_share: shares of the distillation's minutes, for layer-wise distillation and
    for on-policy distillation over on_policy_steps sampler steps; the rest is end-to-end distillation.
    """

    work: Path
    start: Path | None = None
    nets: NetConfig = NetConfig()
    seed: int = 0
    pictures: int = 10000
    corpus_captions: int = 20000
    processes: int = 2
    vae_loop: LoopConfig = LoopConfig(minutes=25, average_decay=0.998)
    decoder_loop: LoopConfig = LoopConfig(
        minutes=45, learning_rate=5e-4, decay_share=0.4, average_decay=0.998
    )
    vae_batch: int = 4
    vae_crop_px: int = 128
    model_loop: LoopConfig = LoopConfig(minutes=50)
    model_batch: int = 24
    distill_loop: LoopConfig = LoopConfig(minutes=18, average_decay=0.995)
    distill_batch: int = 16
    few_step_loop: LoopConfig = LoopConfig(
        minutes=40, learning_rate=4e-4, decay_share=0.6, average_decay=0.995
    )
    layerwise_share: float = 0.4
    on_policy_share: float = 0.3
    on_policy_steps: int = 24
    scheduler: Sampler = "dpm++2m-karras"
    large_views: int = 48
    sheet_steps: int = 20
    sheet_guidance: float = 3.0

    def __post_init__(self) -> None:
        for name in ("layerwise_share", "on_policy_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadSetting(name, f"{name} must be between 0 and 1, got {getattr(self, name):g}.")
        if self.layerwise_share + self.on_policy_share > 1 + 1e-9:
            both = f"{self.layerwise_share:g} and {self.on_policy_share:g}"
            raise BadSetting(
                "on_policy_share",
                f"both shares must not exceed 1 together, got {both}.",
            )

    @property
    def data(self) -> Path:
        """The folder of the render cache."""
        return self.work / "data"
