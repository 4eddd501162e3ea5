"""A batch: several pictures in a row, of which the visitor chooses one and upscales it."""

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"
LINK = "?prompt=green+hills&target=512&num_inference_steps=6&seed="
DRAWN = "count => document.querySelectorAll('.batch .one img:not([hidden])').length === count"
ENDED = f"{STATE} === 'done' && !document.querySelector('#run').disabled"


def seen(page, name: str) -> None:
    """Keep a picture of the page where one is asked for, to be looked at."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.locator(".batch").scroll_into_view_if_needed()
        page.screenshot(path=str(Path(folder) / f"batch-{name}.png"))


def ask_for(page, count: int) -> None:
    field = page.locator("#field-pictures input[type=number]")
    if not field.is_visible():
        page.click("#more button")
    field.fill(str(count))
    field.press("Tab")


def draw(page, count: int) -> None:
    ask_for(page, count)
    page.click("#run")
    page.wait_for_function(DRAWN, arg=count)
    page.wait_for_function(ENDED)


def open_form(visit, width: int, height: int, seed: int):
    """Open the page at a width with a seed that no other test here draws."""
    page = visit(width, height, path=f"{LINK}{seed}")
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'green hills'")
    return page


def shown(page) -> list[bool]:
    pressed = page.locator(".batch .one").evaluate_all("all => all.map((one) => one.ariaPressed)")
    return [value == "true" for value in pressed]


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_four_pictures_are_drawn_and_a_chosen_one_goes_on(visit_painted, width, height) -> None:
    page = open_form(visit_painted, width, height, seed=width)
    assert page.locator(".batch").is_hidden()
    draw(page, 4)
    seen(page, f"drawn-{width}")
    names = [one.get_attribute("aria-label") for one in page.locator(".batch .one").all()]
    assert names == [f"Picture {number} of 4, seed {width + number - 1}" for number in range(1, 5)]
    assert shown(page) == [False, False, False, True]
    # None of it makes the page wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    before = page.locator(".viewer .picture").get_attribute("src")
    page.locator(".batch .one").nth(1).click()
    page.wait_for_function("src => document.querySelector('.viewer .picture').src !== src", arg=before)
    page.wait_for_function("document.querySelectorAll('.batch .one')[1].ariaPressed === 'true'")
    assert shown(page) == [False, True, False, False]
    # The form still asks for the batch.
    assert page.input_value("#field-seed input, #field-seed textarea") == str(width)
    assert page.locator(".ladder li").count() == 1
    button = page.locator(".batch .next")
    assert button.inner_text().startswith("Upscale to 512")
    box = button.bounding_box()
    assert box["height"] >= 32
    button.click()
    page.wait_for_function("document.querySelectorAll('.ladder li').length > 1")
    page.wait_for_function(ENDED)
    seen(page, f"upscaled-{width}")
    cards = page.locator(".ladder li")
    assert "cached" in cards.nth(0).inner_text()
    assert "cached" not in cards.nth(cards.count() - 1).inner_text()
    assert str(width + 1) in page.locator(".rows").text_content()
    assert shown(page) == [False, True, False, False]


def test_a_picture_is_chosen_by_keys_and_the_row_survives_a_reload(visit_painted) -> None:
    page = open_form(visit_painted, 1440, 900, seed=50)
    draw(page, 3)
    page.locator(".batch .one").nth(2).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.batch .one')[1].ariaPressed === 'true'")
    assert page.evaluate("document.activeElement.ariaLabel") == "Picture 2 of 3, seed 51"
    page.reload()
    page.wait_for_function(DRAWN, arg=3)
    assert shown(page) == [False, True, False]
    # The form asks for the batch again.
    page.click("#more button")
    page.wait_for_function("document.querySelector('#field-pictures input[type=number]')?.value === '3'")
    assert page.input_value("#field-seed input, #field-seed textarea") == "50"
    # Its link shows the picture alone to somebody else.
    address = page.url
    assert "job=" in address
    other = visit_painted(path=address[address.index("?") :])
    other.wait_for_function(ENDED)
    assert other.locator(".batch").is_hidden()
    assert other.locator(".ladder li").count() == 1


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_variations_of_a_result_come_in_a_row_and_together_in_the_history(
    visit_painted, width, height
) -> None:
    page = open_form(visit_painted, width, height, seed=width + 9000)
    page.click("#run")
    page.wait_for_function(ENDED)
    page.wait_for_selector('.actions button[data-name="vary"]')
    page.click('.actions button[data-name="vary"]')
    page.wait_for_function(DRAWN, arg=4)
    page.wait_for_function(ENDED)
    seen(page, f"varied-{width}")
    assert page.locator(".ladder li").count() == 1
    assert "at 0.3" in page.locator(".rows").text_content()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    last = page.locator(".batch .one").nth(3)
    assert last.get_attribute("aria-label") == f"Picture 4 of 4, seed {width + 9000}, variation seed 4"
    # What is asked for in the form is still the picture itself.
    page.click("#more button")
    assert page.input_value("#field-variation_strength input[type=number]") == "0"
    page.click(".places button[data-place=history]")
    page.wait_for_selector(".run-grid")
    line = page.locator(".run-grid").first
    assert line.text_content().startswith("Batch 4 variations of seed")
    assert page.locator(".history-grid li.of-grid").count() == 4
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"history-{width}.png"))
    page.click(".run-grid button")
    page.wait_for_selector("#studio[data-place=studio]")
    page.wait_for_function("document.querySelectorAll('.batch .one')[0].ariaPressed === 'true'")


def test_what_a_batch_takes_stands_next_to_run(visit_painted) -> None:
    page = open_form(visit_painted, 1440, 900, seed=70)
    page.wait_for_function("document.querySelector('#ahead .ahead')?.innerText.startsWith('About')")
    ask_for(page, 5)
    page.wait_for_function(
        "document.querySelector('#ahead .ahead').innerText.startsWith('5 pictures: up to ')"
    )
