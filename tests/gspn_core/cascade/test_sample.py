"""One test for each defect of the published cascade that is fixed here, and for what each setting does."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from gspn_core.cascade.sample import StageSampler, stage_generator
from gspn_core.controls.control import StageSetup
from gspn_core.controls.keep_base import KeepBase
from gspn_core.controls.registry import stage_controls
from gspn_core.kinds.registry import find_kind
from gspn_core.planning.types import Size, StagePlan
from gspn_core.settings import CHOICES, Settings

SETTINGS = Settings(
    prompt="a hill",
    seed=7,
    guidance_scale=3.0,
    num_inference_steps=6,
    scheduler="euler",
    upscale_strength=0.5,
    gaussian_sigma=0.8,
    cosine_scale_1=2.0,
    cosine_scale_2=1.0,
    cosine_scale_3=1.0,
    dilated_min_weight=0.0,
)
STAGE = StagePlan(
    index=1,
    kind=find_kind("upscale"),
    size=Size(128, 192),
    px=128,
    ratio=2,
    scale=2,
    num_inference_steps=6,
    steps=3,
    vae_tile_px=None,
    settings=SETTINGS,
)
BASE = StagePlan(
    index=0,
    kind=find_kind("generate"),
    size=Size(64, 96),
    px=64,
    scale=1,
    num_inference_steps=6,
    steps=6,
    vae_tile_px=None,
    settings=SETTINGS,
)


@pytest.fixture
def z_ref():
    return torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(5)) * 1.3 + 0.2


@pytest.fixture
def sampler(tiny_model, tiny_conditioning):
    def make(stage=STAGE, **changes):
        changed = dataclasses.replace(stage, settings=dataclasses.replace(SETTINGS, **changes))
        return StageSampler(tiny_model, changed, tiny_conditioning)

    return make


def _setup(sampler, z_ref=None):
    return StageSetup(
        stage=sampler.stage,
        backbone=sampler.backbone,
        weights=sampler.weights,
        reference=z_ref,
        before=Size(64, 96) if sampler.stage.index else None,
    )


def _run(sampler, z_ref):
    steps = sampler.sample(z_ref, stage_controls(_setup(sampler, z_ref)))
    with torch.inference_mode():
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return done.value


def _unet_inputs(sampler, z_ref):
    seen = []
    unet = sampler.backbone.net

    def record(module, args, _kwargs):
        seen.append((args[0].clone(), module.mid_block.resnets[0].conv1.dilation))

    hook = unet.register_forward_pre_hook(record, with_kwargs=True)
    try:
        _run(sampler, z_ref)
    finally:
        hook.remove()
    return seen


@pytest.mark.parametrize("name", CHOICES["scheduler"])
def test_the_scheduler_steps_once_per_timestep(name, sampler, z_ref):
    made = sampler(scheduler=name)
    step, seen = made.scheduler.step, []
    made.scheduler.step = lambda noise_pred, t, *args, **kwargs: (
        seen.append(float(t)),
        step(noise_pred, t, *args, **kwargs),
    )[1]
    _run(made, z_ref)
    assert seen == [float(t) for t in made.timesteps]
    assert len(seen) == STAGE.steps


def test_the_weights_say_the_noise_level_and_what_is_held_how_widely(sampler):
    made = sampler(cosine_scale_2=0.5, dilated_min_weight=0.3)
    levels = made.path.sigmas
    first = float(levels[int(made.timesteps[0])])
    assert [step.dilated for step in made.weights] == [True, True, False]
    for step, t in zip(made.weights, made.timesteps, strict=True):
        assert step.sigma == pytest.approx(np.interp(float(t), np.arange(len(levels)), levels))
        assert step.held == pytest.approx(step.c1 * (1 - step.c2 if step.dilated else 1))
        assert step.layout_px == pytest.approx(0.8 * first / step.c3)
    assert _keep_base(made).sigma_px == made.weights[0].layout_px


def test_both_branches_scale_their_input_with_the_same_sigma(sampler, z_ref):
    inputs = _unet_inputs(sampler(gaussian_sigma=0.0), z_ref)
    assert len(inputs) == 2 * STAGE.steps
    for (plain, _), (dilated, _) in zip(inputs[::2], inputs[1::2], strict=True):
        torch.testing.assert_close(dilated, plain, atol=1e-5, rtol=1e-5)


def test_the_dilated_branch_is_blurred_by_gaussian_sigma_and_keeps_its_statistics(sampler, z_ref):
    inputs = _unet_inputs(sampler(gaussian_sigma=2.0), z_ref)
    plain, dilated = inputs[0][0], inputs[1][0]
    assert not torch.allclose(plain, dilated, atol=0.05)
    torch.testing.assert_close(dilated.mean((2, 3)), plain.mean((2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dilated.std((2, 3)), plain.std((2, 3)), atol=1e-4, rtol=1e-4)


def test_only_the_second_branch_is_dilated_and_by_the_stages_scale(sampler, z_ref):
    stage = dataclasses.replace(STAGE, index=2, scale=4)
    inputs = _unet_inputs(sampler(stage), z_ref)
    assert [dilation for _, dilation in inputs] == [(1, 1), (4, 4)] * STAGE.steps


def test_the_dilated_branch_is_skipped_below_its_least_weight(sampler, z_ref):
    made = sampler(dilated_min_weight=0.1)
    wanted = sum(weights.c2 >= 0.1 for weights in made.weights)
    assert 0 < wanted < STAGE.steps
    assert len(_unet_inputs(made, z_ref)) == made.model_calls == STAGE.steps + wanted


@pytest.mark.parametrize(("stop", "guided"), [(1.0, 3), (0.5, 2), (0.34, 2), (0.33, 1), (0.0, 0)])
def test_after_guidance_stop_only_the_positive_half_runs(stop, guided, sampler, z_ref):
    made = sampler(guidance_stop=stop)
    rows = [len(inputs) for inputs, _ in _unet_inputs(made, z_ref)]
    assert rows == [2] * (2 * guided) + [1] * (2 * (STAGE.steps - guided))
    assert made.model_calls == sum(rows) / 2


def test_a_guidance_stop_of_zero_is_a_guidance_scale_of_one(sampler, z_ref):
    assert torch.equal(_run(sampler(guidance_stop=0.0), z_ref), _run(sampler(guidance_scale=1.0), z_ref))


@pytest.mark.parametrize("name", ["euler", "dpm++2m-sde", "dpm++2m-sde-karras"])
def test_noise_comes_from_seed_and_stage_alone(name, sampler, z_ref):
    torch.manual_seed(1)
    first = _run(sampler(scheduler=name), z_ref)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(_run(sampler(scheduler=name), z_ref), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(_run(sampler(scheduler=name, seed=8), z_ref), first)


def test_no_two_schedulers_give_the_same_latents(sampler, z_ref):
    found = {name: _run(sampler(scheduler=name), z_ref) for name in CHOICES["scheduler"]}
    for one, other in itertools.combinations(found, 2):
        assert not torch.equal(found[one], found[other]), (one, other)


def test_stages_of_one_seed_draw_different_noise():
    draws = [torch.randn(8, generator=stage_generator(seed, stage)) for seed in (0, 1) for stage in (0, 1, 2)]
    assert len({tuple(draw.tolist()) for draw in draws}) == len(draws)


def test_latents_end_with_the_statistics_of_the_reference(sampler, z_ref):
    x = _run(sampler(), z_ref)
    torch.testing.assert_close(x.mean((2, 3)), z_ref.mean((2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(x.std((2, 3)), z_ref.std((2, 3)), atol=1e-4, rtol=1e-4)


def test_the_base_stage_starts_from_noise_and_takes_any_aspect(sampler):
    made = sampler(BASE)
    assert made.weights == ()
    x = _run(made, None)
    assert x.shape == (1, 4, 8, 12)
    assert torch.isfinite(x).all()


@pytest.mark.parametrize(
    "change",
    [
        {"gaussian_sigma": 2.5},
        {"cosine_scale_1": 0.3},
        {"cosine_scale_2": 3.0},
        {"cosine_scale_3": 0.2},
        {"dilated_min_weight": 0.1},
        {"dilation_scope": "all"},
        {"dilation_scope": "deep"},
        {"dilation_use": "main"},
        {"dilation_until": 0.4},
        {"upscale_strength": 0.45},
        {"guidance_scale": 6.0},
        *({"scheduler": name} for name in CHOICES["scheduler"] if name != "euler"),
    ],
    ids=str,
)
def test_every_setting_of_the_loop_changes_the_latents(change, sampler, z_ref):
    assert not torch.equal(_run(sampler(), z_ref), _run(sampler(**change), z_ref))


def test_weights_are_known_before_the_first_step(sampler):
    made = sampler()
    assert len(made.weights) == STAGE.steps
    assert [weights.timestep for weights in made.weights] == [float(t) for t in made.timesteps]
    assert made.weights[0].c2 > made.weights[-1].c2


@pytest.mark.parametrize("name", CHOICES["scheduler"])
def test_equal_strength_is_an_equal_noise_level_under_every_scheduler(name, sampler):
    made = sampler(scheduler=name)
    assert float(made.timesteps[0]) == pytest.approx(499, abs=0.5)
    euler = sampler(scheduler="euler").scheduler.sigmas[0]
    # LCM and TCD have timesteps alone.
    level = made.scheduler.sigmas[0] if hasattr(made.scheduler, "sigmas") else made.path.sigmas[499]
    assert float(level) == pytest.approx(float(euler), rel=1e-5)
    assert len(made.timesteps) == STAGE.steps


@pytest.mark.parametrize("name", CHOICES["scheduler"])
def test_a_full_pull_without_blur_ends_at_the_reference(name, sampler, z_ref, monkeypatch):
    made = sampler(scheduler=name, cosine_scale_1=0.0, dilation_until=0.0)
    monkeypatch.setattr("gspn_core.controls.skip_residual.gaussian_blur", lambda x, _: x)
    # TCD ends at the first timestep, whose noise it leaves.
    torch.testing.assert_close(_run(made, z_ref), z_ref, atol=0.15 if name == "tcd" else 0.03, rtol=0.02)


@pytest.mark.parametrize("name", [name for name in CHOICES["scheduler"] if "sde" in name])
def test_the_skip_residual_leaves_the_noise_level_to_the_scheduler(name, sampler, z_ref, monkeypatch):
    made = sampler(scheduler=name, cosine_scale_1=0.5, upscale_strength=0.9, dilation_until=0.0)
    monkeypatch.setattr("gspn_core.controls.skip_residual.gaussian_blur", lambda x, _: x)
    # A model that knows the reference: the rest of x is noise, at the scheduler's own level.
    seen = []

    def predict(model_input, *_, **__):
        index = len(seen)
        alpha, sigma = made.scheduler._sigma_to_alpha_sigma_t(made.scheduler.sigmas[index])
        noise = (model_input - alpha * z_ref) / sigma
        seen.append(float(noise.std()))
        return torch.cat([noise, noise])

    monkeypatch.setattr(made.backbone, "predict", predict)
    _run(made, z_ref)
    assert seen == pytest.approx([1.0] * len(seen), abs=0.08)


def _keep_base(sampler):
    return KeepBase.for_stage(_setup(sampler))


def test_the_layout_is_wider_where_the_stage_starts_in_more_noise(sampler):
    low, high = (sampler(upscale_strength=share, cosine_scale_3=0.0) for share in (0.3, 0.9))
    assert _keep_base(high).sigma_px > 5 * _keep_base(low).sigma_px


def test_the_restored_share_follows_the_first_steps_weights(sampler):
    made = sampler(cosine_scale_1=0.5, keep_base=0.8, dilation_until=0.0)
    assert _keep_base(made).weight == pytest.approx(0.8 * made.weights[0].c1)
    assert _keep_base(sampler(cosine_scale_1=0.0, dilation_until=0.0)).weight == 1.0
    dilating = sampler(cosine_scale_1=0.0, cosine_scale_2=0.0)
    assert _keep_base(dilating).weight == pytest.approx(0.0)
    assert stage_controls(_setup(sampler(BASE))) == ()


def test_dilation_in_the_main_prediction_costs_no_second_call(sampler, z_ref):
    made = sampler(dilation_use="main", dilation_until=0.5)
    inputs = _unet_inputs(made, z_ref)
    assert [dilation for _, dilation in inputs] == [(2, 2), (2, 2), (1, 1)]
    assert made.model_calls == STAGE.steps
