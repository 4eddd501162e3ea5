"""Instant: the picture follows what is typed, and Run continues from the one that is shown."""

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"
LINK = "?prompt=green+hills&target=512&num_inference_steps=6"
SHOWN = ".viewer.live .picture:not([hidden])"
SMALL = "there => Boolean(document.querySelector('.instant-thumb')?.offsetWidth) === there"
OTHER = "before => document.querySelector('.viewer .picture').src !== before"


def sketched(page) -> str:
    page.wait_for_selector(SHOWN)
    return page.locator(".viewer .picture").get_attribute("src")


def open_form(visit_painted, width: int = 1440, height: int = 900):
    page = visit_painted(width, height, path=LINK)
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'green hills'")
    page.wait_for_function("document.querySelector('#ahead .ahead')?.innerText.startsWith('About')")
    return page


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_picture_follows_the_form_and_run_continues_from_it(visit_painted, width, height) -> None:
    page = open_form(visit_painted, width, height)
    # The visitor has not changed the form that came with the address.
    page.wait_for_timeout(600)
    assert not page.locator(SHOWN).is_visible()
    prompt = page.locator("#field-prompt textarea")
    prompt.fill("green hills over a lake")
    first = sketched(page)
    assert page.inner_text(".badge").startswith("Sketch 256 × 256 · ")
    assert page.evaluate("document.activeElement.id || document.activeElement.tagName") == "TEXTAREA"
    page.locator(".instant-seed").click()
    page.wait_for_function(OTHER, arg=first)
    seed = page.inner_text(".instant .said")
    assert seed.startswith("seed ")
    # Where the picture is out of sight, the sketch is seen over the form.
    prompt.scroll_into_view_if_needed()
    page.mouse.wheel(0, 3000)
    page.wait_for_function(SMALL, arg=width < 760)
    # Run is in view, and so is the whole status.
    box = page.locator(".instant").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= height
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done' && studio.run?.job")
    page.wait_for_selector(".deep:not(.covered)")
    cards = page.locator(".ladder li")
    assert "cached" in cards.nth(0).inner_text() and "cached" not in cards.nth(1).inner_text()
    assert seed.removeprefix("seed ") in page.locator(".rows").text_content()
    assert page.inner_text(".instant .said") == "" and page.locator(".instant-seed").is_hidden()


def test_a_sketch_is_over_a_finished_run_until_a_stage_is_chosen_or_it_is_turned_off(visit_painted) -> None:
    page = open_form(visit_painted)
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done' && studio.run?.job")
    page.wait_for_selector(".deep:not(.covered)")
    prompt = page.locator("#field-prompt textarea")
    prompt.fill("green hills by day")
    sketched(page)
    assert page.locator(".tools").is_hidden() and page.evaluate(STATE) == "done"
    page.locator(".ladder .card").nth(1).click()
    page.wait_for_selector(".viewer:not(.live) .deep:not(.covered)")
    prompt.fill("green hills by a lake")
    sketched(page)
    page.locator(".instant input").press("Space")
    page.wait_for_selector(".viewer:not(.live) .deep:not(.covered)")
    prompt.fill("green hills under clouds")
    page.wait_for_timeout(800)
    assert not page.locator(SHOWN).is_visible()
    # It stays off in this browser.
    visit_painted.reload(page)
    page.wait_for_selector(".instant input")
    assert not page.locator(".instant input").is_checked()


def test_what_changes_later_stages_alone_draws_nothing_and_a_slow_one_says_why(visit_painted) -> None:
    page = open_form(visit_painted)
    with page.expect_response(lambda answer: "/run/" in answer.url or "/predict" in answer.url):
        page.locator("#field-target label", has_text="1024").click()
    page.wait_for_timeout(800)
    assert not page.locator(SHOWN).is_visible()
    page.locator("#more button").first.click()
    steps = page.locator("#field-num_inference_steps input[type=number]")
    steps.fill("80")
    steps.press("Tab")
    page.wait_for_function(
        "document.querySelector('.instant .said').innerText.startsWith('Off: a sketch takes')"
    )
    assert page.locator(".instant input").is_disabled()
    most = page.inner_text(".instant .said").split("Up to ")[1].split(" ")[0]
    steps.fill(most)
    steps.press("Tab")
    sketched(page)
