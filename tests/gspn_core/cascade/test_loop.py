"""The sampling loop's hooks, on a stage that starts from noise."""

import pytest
import torch

from gspn_core.backbones.backbone import Extra
from gspn_core.cascade.sample import StageSampler
from gspn_core.controls.control import Control
from gspn_core.kinds.registry import find_kind
from gspn_core.planning.types import Size, StagePlan
from gspn_core.settings import Settings

SETTINGS = Settings(prompt="a", seed=1, guidance_scale=3.0, num_inference_steps=2, scheduler="euler")
STAGE = StagePlan(
    index=0,
    kind=find_kind("generate"),
    px=64,
    size=Size(64, 64),
    scale=1,
    num_inference_steps=2,
    steps=2,
    vae_tile_px=None,
    settings=SETTINGS,
)


@pytest.fixture
def run(tiny_model, tiny_conditioning):
    def run(*controls):
        sampler = StageSampler(tiny_model, STAGE, tiny_conditioning)
        steps = sampler.sample(None, controls)
        estimates = []
        with torch.inference_mode():
            while True:
                try:
                    estimates.append(next(steps).denoised)
                except StopIteration as done:
                    return done.value, estimates

    return run


class Noted(Control):
    def __init__(self):
        self.asked = []

    def attached(self, backbone, i):
        self.asked.append(("attached", backbone.name, i))
        return super().attached(backbone, i)

    def before(self, x, i):
        self.asked.append(("before", i))
        return x

    def extra(self, x, i):
        self.asked.append(("extra", i))
        return super().extra(x, i)

    def predicted(self, noise_pred, x, i, predict):
        self.asked.append(("predicted", i, torch.equal(predict(x), noise_pred)))
        return noise_pred

    def denoised(self, estimate, i):
        self.asked.append(("denoised", i))
        return estimate

    def after(self, x, i):
        self.asked.append(("after", i))
        return x


def test_hooks_are_asked_once_a_step_in_the_order_of_the_formula_and_change_no_byte(run):
    noted = Noted()
    latents, estimates = run(noted)
    order = ("before", "extra", "attached", "predicted", "denoised", "after")
    assert [asked[0] for asked in noted.asked] == [*order, *order]
    assert ("attached", "sdxl", 1) in noted.asked
    assert ("predicted", 1, True) in noted.asked
    plain, expected = run()
    assert torch.equal(latents, plain)
    assert all(map(torch.equal, estimates, expected))


def test_a_change_of_each_hook_reaches_the_latents(run, tiny_pipeline):
    blocks = tiny_pipeline.unet.down_blocks
    skips = 1 + sum(len(block.resnets) + bool(block.downsamplers) for block in blocks)

    class Before(Control):
        def before(self, x, _i):
            return x * 0.9

    class Residual(Control):
        def extra(self, _x, _i):
            return Extra(residuals=(torch.ones(1, 1, 1, 1),) * (1 + skips))

    class Predicted(Control):
        def predicted(self, noise_pred, _x, _i, _predict):
            return noise_pred * 0.9

    class After(Control):
        def after(self, x, _i):
            return x * 0.9

    plain, _ = run()
    for control in (Before(), Residual(), Predicted(), After()):
        assert not torch.equal(run(control)[0], plain), control


def test_a_steered_estimate_is_what_the_last_step_ends_at(run):
    class Fixed(Control):
        steers = True

        def denoised(self, estimate, _i):
            return torch.full_like(estimate, 0.25)

    latents, estimates = run(Fixed())
    assert torch.equal(estimates[-1], torch.full((1, 4, 8, 8), 0.25))
    torch.testing.assert_close(latents, estimates[-1], atol=1e-4, rtol=0)
