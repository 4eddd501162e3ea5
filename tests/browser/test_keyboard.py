"""By keyboard alone: the way to Run is short, groups have names, one stop for each slider."""

import pytest

pytestmark = pytest.mark.browser

MOST_STOPS = 15
WHERE = "document.activeElement.id || document.activeElement.className"


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (820, 1180), (390, 844)])
def test_run_is_at_most_fifteen_stops_away_and_follows_the_prompt(visit_painted, width, height) -> None:
    page = visit_painted(width, height)
    page.wait_for_selector(".presets button")
    stops = []
    for _ in range(MOST_STOPS + 1):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(WHERE))
        if stops[-1] == "run":
            break
    assert stops[-1] == "run", stops
    assert stops[0] == "skip"
    prompt = "document.querySelector('#field-prompt textarea')"
    follows = f"{prompt}.compareDocumentPosition(document.querySelector('#run')) & 4"
    assert page.evaluate(follows)


def test_the_first_stop_skips_to_run_from_every_place(visit_painted) -> None:
    page = visit_painted()
    page.wait_for_selector(".presets button")
    page.click(".places button[data-place=history]")
    page.evaluate("document.activeElement.blur()")
    page.locator(".skip").focus()
    assert page.locator(".skip").bounding_box()["width"] > 40
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'run'")
    assert page.evaluate("studio.place") == "studio" and "#run" not in page.url


def test_groups_of_radios_have_names_and_a_slider_is_one_stop(visit_painted) -> None:
    page = visit_painted()
    page.wait_for_function("document.querySelector('#field-target')?.getAttribute('aria-label')")
    assert page.get_by_role("group", name="Output size", exact=True).count() == 1
    assert page.get_by_role("group", name="Token mixing", exact=True).count() == 1
    page.click("#more button")
    page.wait_for_selector("#field-guidance_scale input[type=range]")
    page.wait_for_function(
        """[...document.querySelectorAll('#fields .field:has(input[type=range]) input[type=number]')]
           .every((number) => number.tabIndex === -1)"""
    )
    page.wait_for_selector("#field-guidance_scale input[type=range]")
    page.locator("#field-guidance_scale input[type=range]").last.focus()
    # Its crops are one stop; from there the next field.
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.field')?.id") != "field-guidance_scale"
    page.locator("#field-num_inference_steps input[type=range]").focus()
    page.keyboard.type("12")
    number = page.locator("#field-num_inference_steps input[type=number]")
    assert number.input_value() == "12" and number.evaluate("node => node === document.activeElement")
