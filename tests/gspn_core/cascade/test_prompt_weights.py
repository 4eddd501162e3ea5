"""A weight changes what the embedded model draws, visibly and only then."""

import numpy as np
import pytest

from gspn_core.engine import Engine
from gspn_core.events import StageDone
from gspn_core.models.loading import load_model
from gspn_core.settings import Settings


@pytest.fixture(scope="module")
def draw():
    engine = Engine(load_model("world", device="cpu", dtype="float32"))

    def drawn(prompt):
        plan = engine.plan(
            Settings(prompt=prompt, seed=7, target=256, num_inference_steps=8, mixer="attention")
        )
        (done,) = [event for event in engine.run(plan, previews=False) if isinstance(event, StageDone)]
        return np.asarray(done.image, dtype=float)

    return drawn


def psnr(one, other):
    return 10 * np.log10(255**2 / np.square(one - other).mean())


def test_a_weight_changes_the_picture_visibly(draw):
    plain = draw("green hills by day, falling snow")
    strong = draw("green hills by day, (falling snow:1.4)")
    # Neighbouring values of a slider are 37 to 39 dB apart (README, "What the sliders change").
    assert psnr(plain, strong) < 36
    # The weight 1 goes another way through the encoders and draws the same.
    assert np.abs(plain - draw("green hills by day, (falling snow:1.0)")).max() <= 2
