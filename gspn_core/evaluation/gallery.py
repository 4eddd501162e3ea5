"""The generated pictures that are measured, made once and cached on disk.

A picture is stored under its stage's key, which covers everything that it depends on, so several models can
share one folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from gspn_core.attention.registry import use_mixer
from gspn_core.backbones.codec import Autoencoder
from gspn_core.backbones.conditioning import Conditioning, encode_text
from gspn_core.backbones.model import Model
from gspn_core.backbones.samples import to_image
from gspn_core.backbones.sdxl import guided_noise_pred
from gspn_core.cascade.sample import stage_generator
from gspn_core.cascade.schedule import make_scheduler, set_last_timesteps
from gspn_core.engine import Engine
from gspn_core.evaluation.progress import OnProgress
from gspn_core.evaluation.prompts import Prompt
from gspn_core.evaluation.renders import save_image
from gspn_core.events import StageDone
from gspn_core.planning.types import CascadePlan, StagePlan
from gspn_core.settings import OVERRIDABLE, Mixer, Settings

_READ_BY_A_BATCH = frozenset(
    ("prompt", "negative_prompt", "mixer", "num_inference_steps", "guidance_scale", "scheduler", "seed")
)


class Gallery:
    """Generated pictures of prompts, by mixer and stage. asked: settings in place of the model's own."""

    def __init__(
        self, folder: Path, model: Model, *, asked: Mapping[str, Any], batch: int, on_progress: OnProgress
    ) -> None:
        self.folder, self.model, self.engine = folder, model, Engine(model)
        self.asked, self.batch, self.on_progress = asked, batch, on_progress

    def plan(self, prompt: Prompt, mixer: Mixer, px: int) -> CascadePlan:
        """Return the plan of a prompt up to a stage of `px`; the prompt's number is its seed."""
        settings = Settings(prompt=prompt.text, mixer=mixer, target=px, seed=prompt.number, **self.asked)
        return self.engine.plan(settings)

    def picture(self, prompt: Prompt, mixer: Mixer, px: int) -> Image.Image:
        """Read a cached picture."""
        with Image.open(self._path(self.plan(prompt, mixer, px).stages[-1])) as image:
            return image.convert("RGB")

    def draw_bases(self, prompts: Sequence[Prompt], mixer: Mixer) -> None:
        """Draw the base pictures that are not cached, several prompts at a time."""
        plans = [self.plan(prompt, mixer, self.model.card.base_px) for prompt in prompts]
        if not all(_fits_a_batch(plan.stages[0]) for plan in plans):
            self.draw_cascades(prompts, mixer, self.model.card.base_px)
            return
        missing = [plan.stages[0] for plan in plans if not self._path(plan.stages[0]).is_file()]
        name = f"{mixer} {self.model.card.base_px}"
        for start in range(0, len(missing), self.batch):
            self.on_progress(name, len(plans) - len(missing) + start, len(plans))
            part = missing[start : start + self.batch]
            for stage, image in zip(part, draw_base_batch(self.model, part), strict=True):
                save_image(image, self._path(stage))
        self.on_progress(name, len(plans), len(plans))

    def draw_cascades(self, prompts: Sequence[Prompt], mixer: Mixer, target: int) -> None:
        """Upscale the base pictures to `target` px, continuing after cached stages."""
        name = f"{mixer} cascade to {target}"
        for done, prompt in enumerate(prompts):
            self.on_progress(name, done, len(prompts))
            plan = self.plan(prompt, mixer, target)
            finished = []
            for stage in plan.stages:
                if not self._path(stage).is_file():
                    break
                with Image.open(self._path(stage)) as image:
                    finished.append(image.convert("RGB"))
            if len(finished) == len(plan.stages):
                continue
            for event in self.engine.run(plan, previews=False, finished=finished):
                if isinstance(event, StageDone):
                    save_image(event.image, self._path(event.stage))
        self.on_progress(name, len(prompts), len(prompts))

    def _path(self, stage: StagePlan) -> Path:
        return self.folder / f"{stage.settings.mixer}-{stage.size.width}" / f"{stage.key[:24]}.png"


def draw_base_batch(model: Model, stages: Sequence[StagePlan]) -> list[Image.Image]:
    """Draw the base pictures of several prompts at once, from the same noise as one by one.

    stages: base stages that differ only in prompt and seed.
    """
    first, unet = stages[0], model.pipeline.unet
    settings = first.settings
    if len({_but_prompt(stage) for stage in stages}) > 1:
        raise ValueError("a batch of base pictures takes one size, mixer, scheduler and number of steps.")
    scheduler = make_scheduler(settings.scheduler, model.pipeline.scheduler.config)
    timesteps = set_last_timesteps(scheduler, first.num_inference_steps, first.steps, unet.device)
    factor = model.pipeline.vae_scale_factor
    shape = (1, unet.config.in_channels, first.size.height // factor, first.size.width // factor)
    autoencoder = Autoencoder(model.pipeline.vae, first.vae_tile_px)
    with torch.inference_mode(), use_mixer(unet, settings.mixer, model.adapters):
        pairs = _joined(
            [
                encode_text(model.pipeline, stage.settings.prompt, stage.settings.negative_prompt)
                for stage in stages
            ]
        ).at_size(first.size)
        noise = [torch.randn(shape, generator=stage_generator(stage.settings.seed, 0)) for stage in stages]
        x = torch.cat(noise).to(unet.device) * scheduler.init_noise_sigma
        for t in timesteps:
            both = scheduler.scale_model_input(x, t).repeat(2, 1, 1, 1)
            noise_pred = guided_noise_pred(unet, both, t, pairs, settings.guidance_scale)
            x = scheduler.step(noise_pred, t, x, return_dict=False)[0]
        return [to_image(result_of(autoencoder.decode(latents[None]))) for latents in x]


def _fits_a_batch(stage: StagePlan) -> bool:
    """Return whether `draw_base_batch` supports the settings of a base stage.

    It guides every step, adds no noise between steps and reads only these settings.
    """
    own = stage.settings
    others = (stage.kind.reads & set(OVERRIDABLE)) - _READ_BY_A_BATCH
    plain = all(getattr(own, name) == getattr(Settings, name) for name in others)
    return plain and own.guidance_scale > 1.0 and "sde" not in own.scheduler


def _but_prompt(stage: StagePlan) -> tuple:
    own = stage.settings
    return (stage.size, stage.steps, own.mixer, own.scheduler, own.guidance_scale)


def _joined(pairs: Sequence[Conditioning]) -> Conditioning:
    """Concatenate the guidance pairs of B prompts: B unconditional rows, then B conditional ones."""

    def rows(name: str) -> torch.Tensor:
        return torch.cat([getattr(pair, name)[place][None] for place in (0, 1) for pair in pairs])

    return Conditioning(
        prompt_embeds=rows("prompt_embeds"),
        pooled_prompt_embeds=rows("pooled_prompt_embeds"),
        add_time_ids=rows("add_time_ids"),
    )


def result_of(work: Iterator) -> torch.Tensor:
    """Run a generator to its end and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value
