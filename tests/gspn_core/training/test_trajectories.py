"""Trajectories for the mixers: sampled like the pipeline does, and weighted correctly."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from gspn_core.cascade.schedule import make_scheduler
from gspn_core.training.nets import build_scheduler, encode_prompts
from gspn_core.training.trajectories import Trajectories, step_weights


def begin(size, next_caption=lambda: "dunes", **changes):
    options = {"base_px": 64, "scheduler": "dpm++2m-karras", "steps": 6, "guidance": (3.0, 3.0), **changes}
    return Trajectories(size, next_caption, np.random.default_rng(5), **options)


@pytest.mark.parametrize("scheduler", ["euler", "dpm++2m-karras"])
def test_pictures_go_the_way_that_the_pipeline_takes(trained, scheduler):
    _recipe, out = trained
    pipeline = StableDiffusionXLPipeline.from_pretrained(out)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = make_scheduler(scheduler, pipeline.scheduler.config)
    captions = iter(["dunes", "snowy mountains", "a lake at dusk", *["pines"] * 9])
    way = begin(3, lambda: next(captions), scheduler=scheduler, guidance=(1.5, 6.0))
    pictures = [*way.pictures]
    truths = [_drawn(pipeline, picture) for picture in pictures]
    encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
    with torch.no_grad():
        for _ in range(6):
            moment = way.now()
            noisy, timesteps, both, time_ids = moment.pairs()
            embeds, pooled = encode_prompts(pipeline.tokenizer, encoders, both)
            added = {"text_embeds": pooled, "time_ids": time_ids}
            predicted = pipeline.unet(noisy, timesteps, embeds, added_cond_kwargs=added).sample
            way.advance(moment.guided(predicted))
    # The first two were ended early, so the last went on next to others at other steps.
    assert [picture.step for picture in pictures] == [2, 4, 6]
    torch.testing.assert_close(pictures[2].latents, truths[2][-1], atol=1e-4, rtol=1e-3)
    for picture, truth in zip(pictures, truths, strict=True):
        torch.testing.assert_close(picture.latents, truth[picture.step - 1], atol=1e-4, rtol=1e-3)


def _drawn(pipeline, picture):
    """Return the latents after each step that the pipeline takes from a picture's noise."""
    seen = []

    def keep(_pipeline, _step, _timestep, tensors):
        seen.append(tensors["latents"].clone())
        return tensors

    pipeline(
        picture.caption, height=64, width=64, num_inference_steps=6, guidance_scale=picture.guidance,
        latents=picture.latents / picture.scheduler.init_noise_sigma, output_type="latent",
        callback_on_step_end=keep,
    )  # fmt: skip
    return seen


def test_without_a_stagger_every_step_is_seen_alike():
    way = begin(4, staggered=False)
    seen = []
    for _ in range(6):
        seen += [picture.step for picture in way.pictures]
        way.advance(torch.zeros_like(way.now().noisy))
    assert sorted(seen) == sorted([*range(6)] * 4)


def test_finished_pictures_make_room_and_all_parts_of_the_way_are_seen():
    way = begin(3)
    first = [*way.pictures]
    seen = []
    for _ in range(18):
        seen.append([picture.step for picture in way.pictures])
        way.advance(torch.zeros_like(way.now().noisy))
    assert not set(map(id, first)) & set(map(id, way.pictures))
    # Once the first ones have gone, the three are as far from each other as they can be.
    assert all(sorted(s % 2 for s in steps) in ([0] * 3, [1] * 3) for steps in seen[6:])
    assert all(len(set(steps)) == 3 for steps in seen[6:])


def test_pairs_are_unconditional_and_conditional_and_guidance_combines_them():
    way = begin(2, guidance=(1.0, 5.0))
    moment = way.now()
    noisy, timesteps, captions, time_ids = moment.pairs()
    assert captions == ["", "", "dunes", "dunes"]
    assert torch.equal(noisy[:2], noisy[2:]) and torch.equal(timesteps[:2], timesteps[2:])
    assert time_ids.tolist() == [[64, 64, 0, 0, 64, 64]] * 4
    untold, said = torch.randn(2, 2, 4, 8, 8)
    guided = moment.guided(torch.cat([untold, said]))
    scales = moment.guidance.flatten()
    assert ((scales > 1) & (scales < 5)).all() and scales[0] != scales[1]
    for place, scale in enumerate(scales):
        expected = (1 - scale) * untold[place] + scale * said[place]
        torch.testing.assert_close(guided[place], expected)


def test_weights_are_what_an_error_adds_to_a_picture_of_noise():
    # For white-noise pictures the best prediction is known: √(1 - ᾱ) times the input.
    steps = 24

    def end(wrong_step):
        scheduler = make_scheduler("euler-karras", build_scheduler().config)
        scheduler.set_timesteps(steps)
        latents = torch.ones(1, 1, 1, 1, dtype=torch.float64) * scheduler.init_noise_sigma
        for step, timestep in enumerate(scheduler.timesteps):
            sigma = float(scheduler.sigmas[step])
            predicted = latents * sigma / (1 + sigma**2)
            if step == wrong_step:
                predicted = predicted + 0.01
            latents = scheduler.step(predicted, timestep, latents).prev_sample.double()
        return float(latents)

    weights = step_weights("euler-karras", steps)
    true = end(None)
    ratios = [((end(step) - true) ** 2) / weights[step] for step in range(steps)]
    assert max(ratios) / min(ratios) < 1.2
