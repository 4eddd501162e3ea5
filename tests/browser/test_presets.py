"""Presets and reset with undo, words as chips, the tab's title, a notification when done."""

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"
PROMPT = "document.querySelector('#field-prompt textarea').value"
STEPS = "document.querySelector('#field-num_inference_steps input[type=number]')?.value"
LINK = "?prompt=green+hills&seed=31&target=512&num_inference_steps=6"


def target(page) -> str:
    return page.locator("#field-target input:checked").input_value()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_a_preset_sets_three_settings_and_is_undone_like_a_reset(visit_painted, width, height) -> None:
    page = visit_painted(width, height, path=LINK)
    page.wait_for_function(f"{PROMPT} === 'green hills'")
    presets = page.locator(".presets button")
    assert presets.all_inner_texts() == ["Draft", "Balanced", "Fine"]
    # One stop of the Tab key; the arrows go on.
    presets.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector(".presets [data-name=fine][aria-pressed=true]")
    assert target(page) == "2048"
    page.wait_for_function("document.querySelector('#ahead .changed').innerText.includes('Output size')")
    page.locator("#notice button", has_text="Undo").click()
    page.wait_for_function("document.querySelector('#field-target input:checked').value === '512'")
    page.locator("#ahead .changed button").click()
    page.wait_for_selector(".presets [data-name=balanced][aria-pressed=true]")
    assert target(page) == "1024"
    page.locator("#notice button", has_text="Undo").click()
    page.wait_for_function("document.querySelector('#field-target input:checked').value === '512'")
    assert page.evaluate(PROMPT) == "green hills"
    page.wait_for_selector(".presets [aria-pressed=true]", state="detached")


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (820, 1180), (390, 844)])
def test_words_are_put_into_the_prompt_by_press_and_by_key(visit_painted, width, height) -> None:
    page = visit_painted(width, height, path=LINK)
    page.wait_for_function(f"{PROMPT} === 'green hills'")
    summary = page.locator(".vocabulary summary")
    summary.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".family button")
    assert page.locator(".family button", has_text="hills").first.get_attribute("aria-pressed") == "true"
    page.locator(".family button", has_text="over a lake").click()
    assert page.evaluate(PROMPT) == "green hills over a lake"
    page.locator(".family button", has_text="stormy sky").click()
    assert page.evaluate(PROMPT) == "green hills over a lake, stormy sky"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate(PROMPT) == "green hills over a lake, stormy sky, aurora"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert page.evaluate(PROMPT) == "green hills over a lake, aurora"
    # In the brackets of a weight as well, which go with their last word.
    page.fill("#field-prompt textarea", "(green hills:1.2), aurora")
    green, hills = (page.get_by_role("button", name=name, exact=True) for name in ("green", "hills"))
    assert (green.get_attribute("aria-pressed"), hills.get_attribute("aria-pressed")) == ("true", "true")
    green.click()
    assert page.evaluate(PROMPT) == "(hills:1.2), aurora"
    hills.click()
    assert page.evaluate(PROMPT) == "aurora"
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done' && studio.run?.job")
    assert page.locator("#notice .error").count() == 0


def test_the_title_counts_and_a_notification_comes_only_if_it_was_asked_for(visit_painted) -> None:
    def before(page) -> None:
        page.context.grant_permissions(["notifications"])
        page.add_init_script(
            """
            window.asked = 0; window.shown = []; window.titles = [];
            class Fake { constructor(title, options) { window.shown.push([title, options.body]); }
              static permission = 'default';
              static async requestPermission() {
                window.asked += 1;
                return Fake.permission = 'granted';
              } }
            window.Notification = Fake;
            Object.defineProperty(document, 'hidden', { get: () => Boolean(window.isAway) });
            setInterval(() => window.titles.push(document.title), 4);
            """
        )

    page = visit_painted(path=LINK.replace("31", "32").replace("=6", "=150"), before=before)
    page.wait_for_function(f"{PROMPT} === 'green hills'")
    assert page.title() == "GSPN Studio"
    page.click("#run")
    page.click(".notify:not([hidden])")
    page.evaluate("window.isAway = true")
    page.wait_for_function(f"{STATE} === 'done' && studio.run?.job")
    page.wait_for_function("window.shown.length === 1")
    assert page.evaluate("window.asked") == 1
    assert page.evaluate("window.shown[0][0]") == "GSPN Studio"
    assert page.title() == "GSPN Studio"
    percents = {title for title in page.evaluate("window.titles") if " % · GSPN Studio" in title}
    assert percents
