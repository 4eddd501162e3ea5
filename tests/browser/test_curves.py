"""Sliders show what they decide as the form changes, or why they decide nothing."""

from pathlib import Path

import pytest
from PIL import Image

from gspn_core.images.png import picture_info, write_png
from gspn_core.models.catalog import find_card
from gspn_core.planning.plan import make_plan
from gspn_core.settings import Settings
from ui.shared.strings import form_strings

pytestmark = pytest.mark.browser

STRENGTH = "#field-upscale_strength"
CURVE = f"{STRENGTH} .slider-curve"


@pytest.fixture
def picture(tmp_path) -> Path:
    """Return a picture of the studio's whose run had two stages."""
    asked = Settings(prompt="a lake", seed=3, target=512, num_inference_steps=4)
    info = picture_info(make_plan(asked, find_card("world")), 1, {})
    path = tmp_path / "of-two-stages.png"
    write_png(path, Image.new("RGB", (512, 512), "teal"), info)
    return path


def wait_for_text(page, selector: str, text: str) -> None:
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent.includes(text)",
        arg=[selector, text],
    )


def test_a_slider_that_moves_redraws_its_curve_and_says_it(visit) -> None:
    page = visit()
    page.wait_for_selector(f"{CURVE} .fill", state="attached")
    wait_for_text(page, f"{CURVE} figcaption", "takes 10 of 24 steps")
    slider = page.locator(f"{STRENGTH} input.travel")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    wait_for_text(page, f"{CURVE} figcaption", "takes 12 of 24 steps")
    assert "takes 12 of 24 steps" in page.locator(f"{CURVE} svg").get_attribute("aria-label")
    assert slider.get_attribute("aria-describedby") == "curve-upscale_strength"
    dilated = page.locator("#field-cosine_scale_2 .slider-curve")
    assert dilated.locator(".least").count() == 1
    page.locator("#field-cosine_scale_2 input[type=number]").fill("0")
    page.wait_for_selector("#field-cosine_scale_2 .slider-curve circle", state="attached")


def test_a_slider_without_effect_says_why_and_its_curve_comes_back_with_the_servers_form(
    visit, picture
) -> None:
    page = visit()
    page.wait_for_selector(f"{CURVE} .fill", state="attached")
    page.locator("#field-target label", has_text="256").first.click()
    wait_for_text(page, f"{STRENGTH} .slider-idle", form_strings.IDLE["one_stage"])
    page.wait_for_selector(CURVE, state="hidden")
    slider = page.locator(f"{STRENGTH} input.travel")
    assert slider.is_enabled() and slider.get_attribute("aria-describedby") == "idle-upscale_strength"
    page.set_input_files(".drop-file", str(picture))
    page.wait_for_function("document.querySelector('#field-target input:checked').value === '512'")
    page.wait_for_selector(f"{STRENGTH} .slider-idle", state="hidden")
    page.wait_for_selector(CURVE)
    wait_for_text(page, f"{CURVE} figcaption", "takes 2 of 4 steps")
