import math

import pytest

from gspn_core.cascade.weights import cosine_weights
from gspn_core.settings import Settings


def test_weights_follow_the_formula():
    settings = Settings(
        prompt="a", cosine_scale_1=3.0, cosine_scale_2=2.0, cosine_scale_3=0.5, dilated_min_weight=0.1
    )
    weights = cosine_weights(400.0, settings, 1000)
    c = 0.5 * (1 + math.cos(math.pi * 0.6))
    assert weights.c1 == pytest.approx(c**3)
    assert weights.c2 == pytest.approx(c**2)
    assert weights.c3 == pytest.approx(0.99 * c**0.5 + 0.01)
    assert weights.dilated is (c**2 >= 0.1)


def test_weights_are_one_in_pure_noise_and_vanish_at_the_end():
    settings = Settings(prompt="a", cosine_scale_1=3.0, cosine_scale_2=1.0, cosine_scale_3=1.0)
    start, end = cosine_weights(1000.0, settings, 1000), cosine_weights(0.0, settings, 1000)
    assert (start.c1, start.c2, start.c3) == pytest.approx((1, 1, 1))
    assert (end.c1, end.c2, end.c3) == pytest.approx((0, 0, 0.01))
    assert not end.dilated
