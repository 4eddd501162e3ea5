"""Compare in a real Chromium: two stages at one place, found again by their link."""

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio').dataset.state"


def field(page, name: str, value: str) -> None:
    control = page.locator(f"#field-{name} :is(textarea, input[type=number], input[type=text])").first
    control.fill(value)
    control.press("Tab")


@pytest.fixture
def finished(visit):
    """Return a page with a finished run of two stages."""
    page = visit()
    field(page, "prompt", "green hills behind a meadow by day")
    page.locator("#field-target label", has_text="512").first.click()
    field(page, "seed", "11")
    page.click("#more button")
    page.wait_for_selector("#field-num_inference_steps")
    field(page, "num_inference_steps", "2")
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done'")
    return page


def percent(page) -> str:
    return page.locator(".cmp-percent").inner_text()


def test_the_last_two_stages_are_compared_at_one_place_and_a_link_brings_it_back(finished, visit) -> None:
    page = finished
    page.locator(".masthead .places button", has_text="Compare").click()
    page.click(".cmp-last-two")
    page.wait_for_function("document.querySelector('.cmp-figures dd')?.textContent.includes('dB')")
    assert page.locator(".cmp-items li").count() == 2
    assert page.locator(".cmp-stage").get_attribute("data-mode") == "slider"
    assert "Size" in page.locator(".cmp-table").inner_text()

    handle = page.locator(".cmp-handle")
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "52"

    page.keyboard.press("Escape")
    page.locator(".cmp-modes button", has_text="Side by side").click()
    before = percent(page)
    box = page.locator(".cmp-pane").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -600)
    # The first pane's zoom follows what was done in the second.
    page.wait_for_function(
        "before => document.querySelector('.cmp-percent').textContent !== before", arg=before
    )
    page.wait_for_function("new URL(location.href).searchParams.get('at')")
    page.locator(".cmp-modes button", has_text="Difference").click()
    page.wait_for_function("document.querySelector('.cmp-heat .cmp-tag').textContent.includes('255')")

    other = visit(path=page.evaluate("location.pathname + location.search").lstrip("/"))
    other.wait_for_function("document.querySelector('.cmp-figures dd')?.textContent.includes('dB')")
    assert other.locator(".cmp-stage").get_attribute("data-mode") == "heat"
    assert other.locator(".cmp-items li").count() == 2


def test_a_link_to_what_is_not_there_says_so(visit) -> None:
    page = visit(path="?place=compare&items=xxxxxxxxxxxxxxxxxxxxxx.0,../../etc/passwd.1")
    page.wait_for_selector(".cmp-said:not([hidden])")
    assert "There is no" in page.locator(".cmp-said").inner_text()
    assert page.locator(".cmp-items li").count() == 0


def test_more_than_two_are_shown_in_every_mode_and_a_key_keeps_its_place(finished) -> None:
    page = finished
    first = page.evaluate("studio.run.job")
    field(page, "seed", "12")
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done' && studio.run.job !== '{first}'")
    second = page.evaluate("studio.run.job")
    page.evaluate(f"studio.go('compare', {{items: ['{first}.0', '{first}.1', '{second}.1']}})")
    page.wait_for_function("document.querySelector('.cmp-figures dd')?.textContent.includes('dB')")

    focused = "document.activeElement.textContent"
    for mode in ("Slider", "Side by side", "Flip", "Difference"):
        page.locator(".cmp-modes button", has_text=mode).focus()
        page.keyboard.press("Space")
        assert page.evaluate(focused) == mode
        # A picture that is not on the screen must not lead the others to its own scale.
        page.wait_for_function("parseInt(document.querySelector('.cmp-percent').textContent) > 50")
        page.wait_for_timeout(600)
        assert 50 < int(percent(page).split()[0]) < 1000
    place = page.evaluate("new URL(location.href).searchParams.get('at')")
    assert place is None or float(place.split(",")[2]) < 10

    page.locator(".cmp-remove").nth(2).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.cmp-items li').length === 2")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove B"
    page.locator(".cmp-add summary").click()
    page.fill(".cmp-paste", "stranger")
    page.keyboard.press("Enter")
    page.wait_for_selector(".cmp-said:not([hidden])")
    page.wait_for_function("!location.search.includes('stranger')")
    assert page.locator(".cmp-items li").count() == 2
