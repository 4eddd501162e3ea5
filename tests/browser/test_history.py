"""The visitor's own runs, and what follows from a run, in a real Chromium over the real app."""

import hashlib

import pytest

from ui.shared.strings import page_strings, screen_strings, studio_strings

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio').dataset.state"
FIRST_RUN = ".history-grid li >> nth=0"


def run(page, prompt: str, *, seed: str, target: str = "256") -> None:
    """Run two steps a stage and wait for the last PNG."""
    page.fill("#field-prompt textarea", prompt)
    page.locator("#field-target label", has_text=target).first.click()
    page.locator("#field-seed").locator("input, textarea").fill(seed)
    if not page.locator("#field-num_inference_steps").is_visible():
        page.click("#more button")
    steps = page.locator("#field-num_inference_steps input[type=number]")
    steps.fill("2")
    steps.press("Tab")
    before = page.evaluate("location.search")
    page.click("#run")
    page.wait_for_function("before => location.search !== before", arg=before)
    wait_for_pictures(page, {"256": 1, "512": 2}[target])


def wait_for_pictures(page, count: int) -> None:
    page.wait_for_function(f"{STATE} === 'done'")
    page.wait_for_function(f"document.querySelectorAll('.ladder .get[download]').length === {count}")


def picture(page, index: int) -> str:
    """Return the digest of a stage's pixels: the text in the PNG names its own run."""
    return page.evaluate(
        """async (index) => {
          const link = document.querySelectorAll('.ladder .get')[index];
          const image = await createImageBitmap(await (await fetch(link.href)).blob());
          const canvas = new OffscreenCanvas(image.width, image.height);
          const context = canvas.getContext('2d');
          context.drawImage(image, 0, 0);
          const { data } = context.getImageData(0, 0, image.width, image.height);
          const digest = await crypto.subtle.digest('SHA-256', data);
          return [...new Uint8Array(digest)].join(' ');
        }""",
        index,
    )


def go(page, place: str) -> None:
    page.click(f".places button[data-place={place}]")
    page.wait_for_selector(f"#studio[data-place={place}]")


def wait_for_runs(page, count: int) -> None:
    page.wait_for_function(f"document.querySelectorAll('.history-grid li').length === {count}")


@pytest.fixture
def page(visit):
    return visit()


def test_the_history_lists_a_run_with_its_picture_and_opens_it_again(page) -> None:
    run(page, "snowy mountains at dusk", seed="11")
    address = page.evaluate("location.search")
    run(page, "green hills at dawn", seed="12")
    go(page, "history")
    wait_for_runs(page, 2)
    assert page.locator(".run-prompt").all_inner_texts() == ["green hills at dawn", "snowy mountains at dusk"]
    page.wait_for_function("document.querySelector('.history-grid img').naturalWidth > 0")
    page.click(".history-grid li >> nth=1 >> .run-picture")
    page.wait_for_selector("#studio[data-place=studio]")
    page.wait_for_function("address => location.search === address", arg=address)
    assert page.input_value("#field-prompt textarea") == "snowy mountains at dusk"
    page.go_back()
    page.wait_for_selector("#studio[data-place=history]")
    page.fill(".history-search", "HILLS")
    wait_for_runs(page, 1)
    page.fill(".history-search", "nothing like it")
    page.wait_for_selector(".history-empty:not([hidden])")
    assert page.inner_text(".history-empty-title") == screen_strings.SCREEN["history_none"]


def test_a_favourite_and_a_note_survive_a_reload_and_delete_removes_the_run(visit) -> None:
    page = visit()
    run(page, "a lake at noon", seed="13")
    go(page, "history")
    wait_for_runs(page, 1)
    page.locator(f"{FIRST_RUN} >> .run-star").click()
    note = page.locator(f"{FIRST_RUN} >> .run-note")
    note.fill("the calm one <b>")
    note.press("Enter")
    page.wait_for_function("document.querySelector('.run-note').defaultValue === 'the calm one <b>'")
    visit.reload(page)
    page.wait_for_selector("#studio[data-place=history]")
    wait_for_runs(page, 1)
    assert page.input_value(".run-note") == "the calm one <b>"
    assert page.get_attribute(".run-star", "aria-pressed") == "true"
    page.click(".run-delete")
    page.click(".run-no")
    assert page.locator(".history-grid li").count() == 1
    page.click(".run-delete")
    page.click(".run-yes")
    wait_for_runs(page, 0)
    visit.reload(page)
    page.wait_for_selector(".history-empty:not([hidden])")


def test_another_visitor_does_not_see_a_run_but_opens_it_by_its_link(visit) -> None:
    page = visit()
    run(page, "red dunes at night", seed="14")
    link = page.evaluate("location.search")
    other = visit(path=link)
    other.wait_for_function(f"{STATE} === 'done'")
    assert other.input_value("#field-prompt textarea") == "red dunes at night"
    go(other, "history")
    other.wait_for_selector(".history-empty:not([hidden])")
    assert other.locator(".history-grid li").count() == 0


def test_going_on_to_the_next_target_reuses_the_stages_before_it(page) -> None:
    run(page, "a forest in the morning", seed="15")
    first = picture(page, 0)
    page.click(f".actions button >> text={studio_strings.continue_to(512)}")
    wait_for_pictures(page, 2)
    assert picture(page, 0) == first
    assert page.inner_text(".ladder li:first-child .lines").startswith(studio_strings.REUSED)
    assert hashlib.sha256(picture(page, 1).encode()).digest() != hashlib.sha256(first.encode()).digest()
    assert page.locator("#ahead").inner_text().startswith("Nothing changed.")


def test_a_stage_is_redone_from_its_menu_by_keyboard_and_the_stage_before_it_stays(page) -> None:
    run(page, "a meadow at noon", seed="16", target="512")
    before = [picture(page, index) for index in (0, 1)]
    page.locator("#field-upscale_strength input[type=number]").fill("0.9")
    page.keyboard.press("Tab")
    address = page.evaluate("location.search")
    page.focus(".ladder li:nth-child(2) .stage-menu")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=menu]")
    assert (
        page.evaluate("document.activeElement.textContent")
        == page.locator("[role=menuitem]").first.inner_text()
    )
    page.keyboard.press("Escape")
    assert page.locator("[role=menu]").count() == 0
    page.keyboard.press("Enter")
    for _ in range(page.locator("[role=menuitem]").count()):
        if page.evaluate("document.activeElement.textContent") == studio_strings.REDO:
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("before => location.search !== before", arg=address)
    wait_for_pictures(page, 2)
    assert picture(page, 0) == before[0]
    assert picture(page, 1) != before[1]


def test_a_run_that_goes_on_is_in_view_from_the_history(page) -> None:
    page.fill("#field-prompt textarea", "pines at dusk")
    page.locator("#field-target label", has_text="1024").first.click()
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'running'")
    go(page, "history")
    page.wait_for_selector(".chip.live:not([hidden])")
    page.wait_for_selector('.history-grid li[data-state="running"]')
    assert not page.locator(f"{FIRST_RUN} >> .run-delete").is_visible()
    page.keyboard.press("Escape")
    page.click(".chip")
    page.wait_for_selector("#studio[data-place=studio]")
    assert page.evaluate(STATE) == "running", "Escape stops a run only in the studio"
    page.keyboard.press("Escape")
    page.wait_for_function(f"{STATE} === 'stopped'")
    page.click(f".actions button >> text={studio_strings.RESUME}")
    page.wait_for_function(f"{STATE} === 'running'")
    page.click("#stop")
    page.wait_for_function(f"{STATE} === 'stopped'")


def test_the_keys_are_shown_and_close_again(page) -> None:
    page.locator(".headline").click()
    page.keyboard.press("?")
    page.wait_for_selector(".keys-dialog[open]")
    assert page.locator(".keys-list > div").count() == len(page_strings.KEYS)
    page.keyboard.press("Escape")
    assert page.locator(".keys-dialog[open]").count() == 0
    page.fill("#field-prompt textarea", "what is it?")
    assert page.locator(".keys-dialog[open]").count() == 0
