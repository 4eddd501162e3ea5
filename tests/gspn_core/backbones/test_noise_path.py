import numpy as np
import pytest
import torch

from gspn_core.backbones.noise_path import diffusion_path
from gspn_core.cascade.schedule import make_scheduler


def _predicting(kind, pipeline):
    # diffusers would set what this list names back to the scheduler's defaults.
    config = {**pipeline.scheduler.config, "prediction_type": kind}
    return {name: value for name, value in config.items() if name != "_use_default_values"}


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_prediction_and_its_estimate_are_one_fact(kind, tiny_pipeline):
    scheduler = make_scheduler("euler", _predicting(kind, tiny_pipeline))
    x, p = (torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(2))
    path = diffusion_path(scheduler)
    estimate = path.clean(x, p, 333.5)
    torch.testing.assert_close(path.prediction(x, estimate, 333.5), p, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_true_prediction_gives_the_clean_latents(kind, tiny_pipeline):
    scheduler = make_scheduler("ddim", _predicting(kind, tiny_pipeline))
    path, t = diffusion_path(scheduler), torch.tensor([600])
    clean, noise = (torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(2))
    true = noise if kind == "epsilon" else scheduler.get_velocity(clean, noise, t)
    x = path.noised(clean, noise, t)
    torch.testing.assert_close(path.clean(path.scaled(x, t), true, 600.0), clean, atol=1e-4, rtol=1e-4)


def test_level_is_the_share_of_the_training_timesteps_and_sigmas_ascend_with_it(tiny_pipeline):
    path = diffusion_path(make_scheduler("euler", tiny_pipeline.scheduler.config))
    assert [path.level(t) for t in (0.0, 250.0, 1000.0)] == [0.0, 0.25, 1.0]
    assert path.sigmas.shape == (1000,)
    assert np.all(np.diff(path.sigmas) > 0)


def test_another_kind_of_prediction_is_named(tiny_pipeline):
    scheduler = make_scheduler("euler", _predicting("sample", tiny_pipeline))
    with pytest.raises(ValueError, match="epsilon, v_prediction, got sample"):
        diffusion_path(scheduler)
