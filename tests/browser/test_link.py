"""Sharing: a link brings settings into the form, and a run's link and settings are copied at a press."""

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"


def test_a_link_fills_the_form_and_a_run_is_shared_by_one_press(visit) -> None:
    page = visit(path="?prompt=green+hills+by+day&seed=11&target=256&num_inference_steps=4")
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'green hills by day'")
    page.wait_for_function("document.querySelector('#notice').innerText.includes('link')")
    assert page.locator("#field-target input:checked").input_value() == "256"
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done'")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    read = "navigator.clipboard.readText()"
    page.get_by_role("button", name="Copy settings").click()
    page.get_by_role("button", name="Copied").wait_for()
    text = page.evaluate(read)
    assert text.startswith("green hills by day\nSteps: 4,") and "Seed: 11, Size: 256x256" in text
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_function(f"async () => (await {read}).includes('?job=')")
    guest = visit(path="?" + page.evaluate(read).split("?")[1])
    guest.wait_for_function(f"{STATE} === 'done'")
    assert guest.locator("#field-prompt textarea").input_value() == "green hills by day"


def test_a_link_that_cannot_be_says_so(visit) -> None:
    page = visit(path="?prompt=green+hills&target=300")
    page.wait_for_function("document.querySelector('#notice').innerText.includes('300')")


def test_two_settings_are_compared_by_changing_one_and_two_presses(visit) -> None:
    page = visit(path="?prompt=green+hills+by+day&seed=12&target=256&num_inference_steps=4")
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'green hills by day'")
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done'")
    assert page.get_by_role("button", name="Compare with the run before").count() == 0
    page.locator("#field-mixer label", has_text="Self-attention").first.click()
    page.click("#run")
    page.get_by_role("button", name="Compare with the run before").click()
    page.wait_for_selector("#studio[data-place=compare]")
    page.wait_for_function("document.querySelector('#compare').innerText.includes('Self-attention')")
    assert "Token mixing" in page.inner_text("#compare")


def test_what_run_takes_and_what_was_changed_is_said_and_reset(visit) -> None:
    page = visit(path="?target=256&guidance_scale=7&num_inference_steps=4")
    page.wait_for_function("document.querySelector('#ahead').innerText.includes('Changed: ')")
    assert "CFG scale" in page.inner_text("#ahead")
    page.wait_for_function("document.querySelector('.ahead span').innerText.startsWith('About ')")
    page.locator("#ahead .changed button").click()
    page.wait_for_selector("#ahead .changed", state="hidden")
    assert page.locator("#field-target input:checked").input_value() == "1024"


def test_a_late_answer_to_an_early_question_is_left_out(visit) -> None:
    page = visit(path="?num_inference_steps=4")
    page.wait_for_function("document.querySelector('.ahead span').innerText.startsWith('About ')")
    early, later = [], []

    def hold(route) -> None:
        is_question = "7.25" in (route.request.post_data or "")
        if is_question and not early:
            early.append(route)
        elif later:
            later.append(route)
        else:
            route.continue_()

    page.route("**/gradio_api/run/predict*", hold)
    page.click("#more button")
    page.locator("#field-guidance_scale input[type=number]").fill("7.25")
    page.locator("#field-guidance_scale input[type=number]").press("Enter")
    page.wait_for_timeout(1000)
    page.locator("#ahead .changed button").click()
    page.wait_for_selector("#ahead .changed", state="hidden")
    assert early
    later.append(None)
    with page.expect_response(lambda answer: answer.request == early[0].request):
        early[0].continue_()
    page.wait_for_timeout(1000)
    assert page.locator("#ahead .changed").is_hidden()
    for route in later[1:]:
        route.continue_()
