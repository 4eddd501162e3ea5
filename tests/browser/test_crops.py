"""A slider's stored crops: shown when it is used, fetched no sooner, pressed to set it."""

import pytest

from ui.crops import FOLDER

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (FOLDER / "index.json").is_file(), reason="no crops are stored"),
]

SIGMA = "#field-gaussian_sigma"


def test_crops_show_by_pointer_and_by_key_and_a_press_sets_the_slider(visit) -> None:
    page = visit()
    fetched = []
    page.on("request", lambda request: fetched.append(request.url) if ".webp" in request.url else None)
    slider = page.locator(f"{SIGMA} input[type=range]")
    slider.wait_for()
    assert page.locator(".slider-crops").count() == 0 and fetched == []
    slider.hover()
    panel = page.locator(f"{SIGMA} .slider-crops")
    panel.wait_for()
    page.wait_for_function(
        "panel => [...panel.querySelectorAll('img')].every(image => image.naturalWidth)",
        arg=panel.element_handle(),
    )
    assert len(fetched) == 3 and all("gaussian_sigma" in url for url in fetched)
    assert panel.get_by_alt_text("Sigma at 0.8").count() == 1
    assert panel.locator("[aria-current]").get_attribute("data-value") == "0.8"
    panel.locator("button").last.click()
    number = page.locator(f"{SIGMA} input[type=number]")
    assert slider.input_value() == "4" and number.input_value() == "4"
    assert panel.locator("[aria-current]").get_attribute("data-value") == "4"

    page.mouse.move(900, 500)
    panel.wait_for(state="hidden")
    page.keyboard.press("Tab")
    slider.focus()
    panel.wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert slider.input_value() == "0"
    page.keyboard.press("Escape")
    panel.wait_for(state="hidden")
    assert slider.evaluate("slider => slider === document.activeElement")


def test_a_tap_on_a_phone_shows_the_crops_and_a_tap_elsewhere_hides_them(visit) -> None:
    page = visit(390, 844, has_touch=True)
    slider = page.locator(f"{SIGMA} input[type=range]")
    slider.scroll_into_view_if_needed()
    slider.tap()
    panel = page.locator(f"{SIGMA} .slider-crops")
    panel.wait_for()
    box = panel.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    panel.locator("button").first.tap()
    assert slider.input_value() == "0"
    page.locator("#field-prompt textarea").tap()
    panel.wait_for(state="hidden")
