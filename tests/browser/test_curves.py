"""Sliders show what they decide, as they move."""

import pytest

pytestmark = pytest.mark.browser


def test_a_slider_that_moves_redraws_its_curve_and_says_it(visit) -> None:
    page = visit()
    curve = "#field-upscale_strength .slider-curve"
    page.wait_for_selector(f"{curve} .fill", state="attached")
    before = page.locator(f"{curve} figcaption").inner_text()
    assert "of 24 steps again" in before
    slider = page.locator("#field-upscale_strength input[type=range]")
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([curve, before]) => document.querySelector(curve + ' figcaption').textContent !== before",
        arg=[curve, before],
    )
    assert page.locator(f"{curve} svg").get_attribute("aria-label") != before
    dilated = page.locator("#field-cosine_scale_2 .slider-curve")
    assert dilated.locator("circle").count() >= 1 and dilated.locator(".least").count() == 1
