"""A slider's stored crops: shown when it is used, fetched no sooner, pressed to set it."""

import json

import pytest

from gspn_core.settings import Settings
from ui.form.crops import FOLDER
from ui.shared.strings import form_strings, labels

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (FOLDER / "index.json").is_file(), reason="no crops are stored"),
]

SIGMA = "#field-gaussian_sigma"


def stored_values() -> list[str]:
    """Return the values of sigma's crops, as the page says them."""
    index = json.loads((FOLDER / "index.json").read_text("utf-8"))
    return [f"{crop['value']:g}" for crop in index["sliders"]["gaussian_sigma"]["crops"]]


def test_crops_show_by_pointer_and_by_key_and_a_press_sets_the_slider(visit) -> None:
    page = visit()
    fetched = []
    page.on("request", lambda request: fetched.append(request.url) if ".webp" in request.url else None)
    slider = page.locator(f"{SIGMA} input.travel")
    slider.wait_for()
    assert page.locator(".slider-crops").count() == 0 and fetched == []
    slider.hover()
    panel = page.locator(f"{SIGMA} .slider-crops")
    panel.wait_for()
    page.wait_for_function(
        "panel => [...panel.querySelectorAll('img')].every(image => image.naturalWidth)",
        arg=panel.element_handle(),
    )
    assert len(fetched) == len(stored_values()) and all("gaussian_sigma" in url for url in fetched)
    values = stored_values()
    for value in values:
        alt = form_strings.crop_at(labels.LABELS["gaussian_sigma"], float(value))
        assert panel.get_by_alt_text(alt, exact=True).count() == 1
    default = Settings(prompt="a lake").gaussian_sigma
    nearest = min(values, key=lambda value: abs(float(value) - default))
    assert panel.locator("[aria-current]").get_attribute("data-value") == nearest
    panel.locator("button").last.click()
    number = page.locator(f"{SIGMA} input[type=number]")
    assert slider.get_attribute("aria-valuetext") == number.input_value() == values[-1]
    assert panel.locator("[aria-current]").get_attribute("data-value") == values[-1]

    page.mouse.move(900, 500)
    panel.wait_for(state="hidden")
    page.keyboard.press("Tab")
    slider.focus()
    panel.wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert number.input_value() == "0"
    page.keyboard.press("Escape")
    panel.wait_for(state="hidden")
    assert slider.evaluate("slider => slider === document.activeElement")


def test_a_tap_on_a_phone_shows_the_crops_and_a_tap_elsewhere_hides_them(visit) -> None:
    page = visit(390, 844, has_touch=True)
    slider = page.locator(f"{SIGMA} input.travel")
    slider.scroll_into_view_if_needed()
    slider.tap()
    panel = page.locator(f"{SIGMA} .slider-crops")
    panel.wait_for()
    box = panel.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    panel.locator("button").first.tap()
    assert slider.get_attribute("aria-valuetext") == "0"
    page.locator("#field-prompt textarea").tap()
    panel.wait_for(state="hidden")
