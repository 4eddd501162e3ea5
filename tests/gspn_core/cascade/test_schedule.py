import pytest
import torch
from diffusers import LCMScheduler, TCDScheduler

from gspn_core.backbones.noise_path import diffusion_path
from gspn_core.cascade.schedule import (
    make_scheduler,
    set_last_timesteps,
    set_timesteps_from,
    step_options,
)
from gspn_core.settings import CHOICES

SCHEDULERS = CHOICES["scheduler"]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_stage_runs_the_last_timesteps_of_the_whole_schedule(name, tiny_pipeline):
    config, device = tiny_pipeline.scheduler.config, torch.device("cpu")
    whole = set_last_timesteps(make_scheduler(name, config), 12, 12, device)
    last = set_last_timesteps(make_scheduler(name, config), 12, 5, device)
    assert torch.equal(last, whole[-5:])
    assert torch.all(last[:-1] > last[1:])


CONSISTENCY = ["lcm", "tcd"]
STOCHASTIC = [name for name in SCHEDULERS if "sde" in name] + CONSISTENCY


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name not in STOCHASTIC])
def test_steps_with_the_true_noise_lead_back_to_the_latents(name, tiny_pipeline):
    scheduler = make_scheduler(name, tiny_pipeline.scheduler.config)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 4, 8, 8, generator=generator)
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    timesteps = set_last_timesteps(scheduler, 20, 8, torch.device("cpu"))
    path = diffusion_path(scheduler)
    x = path.noised(z, noise, timesteps[:1])
    for t in timesteps:
        estimate = path.clean(path.scaled(x, t), noise, float(t))
        torch.testing.assert_close(estimate, z, atol=0.02, rtol=0.02)
        x = scheduler.step(noise, t, x, return_dict=False)[0]
    torch.testing.assert_close(x, z, atol=0.05, rtol=0.02)


@pytest.mark.parametrize("name", [name for name in STOCHASTIC if name not in CONSISTENCY])
def test_steps_that_add_noise_lead_back_too_where_it_is_seen(name, tiny_pipeline):
    scheduler = make_scheduler(name, tiny_pipeline.scheduler.config)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 4, 8, 8, generator=generator)
    timesteps = set_last_timesteps(scheduler, 20, 8, torch.device("cpu"))
    x = scheduler.add_noise(z, torch.randn(z.shape, generator=generator), timesteps[:1])
    for index, t in enumerate(timesteps, start=12):
        alpha, sigma = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[index])
        seen = (x - alpha * z) / sigma
        x = scheduler.step(seen, t, x, return_dict=False, **step_options(scheduler, generator))[0]
    torch.testing.assert_close(x, z, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_only_a_stochastic_scheduler_is_given_a_source_of_noise(name, tiny_pipeline):
    scheduler = make_scheduler(name, tiny_pipeline.scheduler.config)
    assert bool(step_options(scheduler, torch.Generator())) is (name in STOCHASTIC)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize(("strength", "steps"), [(0.02, 1), (0.3, 4), (0.42, 6), (1.0, 12)])
def test_a_start_at_a_noise_level_descends_from_it(name, strength, steps, tiny_pipeline):
    scheduler = make_scheduler(name, tiny_pipeline.scheduler.config, from_level=True)
    timesteps = set_timesteps_from(scheduler, strength, 12, steps, torch.device("cpu"))
    assert len(timesteps) == steps
    assert float(timesteps[0]) == pytest.approx(1000 * strength - 1, abs=0.5)
    assert torch.all(timesteps[:-1] > timesteps[1:])
    if name not in CONSISTENCY:
        assert torch.all(scheduler.sigmas[:-1] > scheduler.sigmas[1:])
        assert scheduler.sigmas[-1] == 0


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name not in STOCHASTIC])
def test_steps_from_a_noise_level_with_the_true_noise_lead_back(name, tiny_pipeline):
    scheduler = make_scheduler(name, tiny_pipeline.scheduler.config, from_level=True)
    generator = torch.Generator().manual_seed(0)
    z, noise = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(2))
    timesteps = set_timesteps_from(scheduler, 0.4, 20, 8, torch.device("cpu"))
    x = scheduler.add_noise(z, noise, timesteps[:1])
    for t in timesteps:
        scheduler.scale_model_input(x, t)
        x = scheduler.step(noise, t, x, return_dict=False)[0]
    torch.testing.assert_close(x, z, atol=0.02, rtol=0.02)


def test_ddim_from_a_noise_level_is_ddim(tiny_pipeline):
    config, device = tiny_pipeline.scheduler.config, torch.device("cpu")
    own = make_scheduler("ddim", config)
    mine = make_scheduler("ddim", config, from_level=True)
    timesteps = set_last_timesteps(own, 10, 10, device)
    mine.set_timesteps(timesteps=timesteps.tolist(), device=device)
    x = y = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for t in timesteps:
        x = own.step(torch.tanh(x), t, x, return_dict=False)[0]
        y = mine.step(torch.tanh(y), t, y, return_dict=False)[0]
    torch.testing.assert_close(x, y, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("own", ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])
def test_a_name_says_its_spacing_whatever_the_models_own_is(name, own, tiny_pipeline):
    plain = make_scheduler(name, tiny_pipeline.scheduler.config)
    config = {**tiny_pipeline.scheduler.config, own: True}
    other = make_scheduler(name, config)
    assert bool(other.config.get("use_karras_sigmas")) is ("karras" in name)
    assert not other.config.get("use_exponential_sigmas")
    assert not other.config.get("use_beta_sigmas")
    for scheduler in (plain, other):
        scheduler.set_timesteps(7)
    assert torch.equal(plain.timesteps, other.timesteps)


@pytest.mark.parametrize("name", CONSISTENCY)
@pytest.mark.parametrize("strength", [None, 0.4])
def test_a_consistency_step_that_sees_the_noise_leads_back(name, strength, tiny_pipeline):
    from_level = strength is not None
    scheduler = make_scheduler(name, tiny_pipeline.scheduler.config, from_level=from_level)
    generator, device = torch.Generator().manual_seed(0), torch.device("cpu")
    z = torch.randn(1, 4, 8, 8, generator=generator)
    if from_level:
        timesteps = set_timesteps_from(scheduler, strength, 4, 2, device)
    else:
        timesteps = set_last_timesteps(scheduler, 4, 4, device)
    x = scheduler.add_noise(z, torch.randn(z.shape, generator=generator), timesteps[:1])
    for t in timesteps:
        alpha = scheduler.alphas_cumprod[t]
        seen = (x - alpha.sqrt() * z) / (1 - alpha).sqrt()
        x = scheduler.step(seen, t, x, return_dict=False, **step_options(scheduler, generator))[0]
    torch.testing.assert_close(x, z, atol=0.15 if name == "tcd" else 0.02, rtol=0.02)


@pytest.mark.parametrize("name", CONSISTENCY)
@pytest.mark.parametrize("steps", [1, 4, 8, 60])
def test_consistency_timesteps_are_those_of_diffusers(name, steps, tiny_pipeline):
    scheduler = make_scheduler(name, tiny_pipeline.scheduler.config)
    timesteps = set_last_timesteps(scheduler, steps, steps, torch.device("cpu"))
    own = {"lcm": LCMScheduler, "tcd": TCDScheduler}[name].from_config(tiny_pipeline.scheduler.config)
    own.set_timesteps(steps, **({"original_inference_steps": steps} if steps > 50 else {}))
    assert timesteps.tolist() == own.timesteps.tolist() and timesteps[0] >= 950
