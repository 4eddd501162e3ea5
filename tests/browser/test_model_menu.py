"""The menu of models at the top: another is chosen, a damaged one says why, and the first comes back."""

import json
import shutil
from urllib.request import urlopen

import pytest

from gspn_core.models.random_weights import write_random_model
from ui.shared.strings import page_strings

pytestmark = pytest.mark.browser

TITLE = ".masthead .model b"
ISSUE = ".issue:not([hidden]) p"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a folder of two models of random weights, one of them with a weight file that is cut off."""
    folder = tmp_path_factory.mktemp("models")
    write_random_model(folder / "whole", "small")
    shutil.copytree(folder / "whole", folder / "torn")
    weights = next((folder / "torn" / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1000])
    return folder


def choose(page, label) -> None:
    """Choose a model by the keyboard alone."""
    page.locator(".masthead .choose").focus()
    page.keyboard.press("Enter")
    item = page.get_by_role("menuitem", name=label, exact=True)
    item.focus()
    page.keyboard.press("Enter")


def await_title(page, title) -> None:
    page.wait_for_function(f"document.querySelector('{TITLE}')?.textContent === '{title}'")
    page.wait_for_selector("#run", state="attached")


def test_another_model_is_chosen_draws_and_gives_way_again(serve, visit_at, models, tmp_path) -> None:
    shutil.copytree(models, tmp_path / "models")
    with serve(tmp_path / "jobs", tmp_path / "log", arguments=("--models", str(tmp_path / "models"))) as (
        address,
        _server,
    ):
        page = visit_at(address)()
        await_title(page, "The embedded model")
        page.locator(".masthead .choose").click()
        offered = page.get_by_role("menuitem").all_inner_texts()
        assert offered == ["The embedded model · in use", "The embedded model, 4 steps", "torn", "whole"]
        page.keyboard.press("Escape")

        # One that cannot be read: its sentence stands on the page, and the menu offers a way back.
        choose(page, "torn")
        await_title(page, "torn")
        page.wait_for_selector(ISSUE)
        said = page.locator(ISSUE).inner_text()
        assert "of its" in said and "bytes; copy it again." in said and "torn/unet" in said

        choose(page, "whole")
        await_title(page, "whole")
        assert page.locator(ISSUE).count() == 0
        page.locator("#field-prompt textarea").fill("anything at all")
        page.click("#more button")
        steps = page.locator("#field-num_inference_steps input[type=number]")
        steps.fill("2")
        steps.press("Tab")
        page.click("#run")
        page.wait_for_selector("#studio[data-state=done]")
        assert page.locator(".ladder li.done").count() == 1

        # One that is gone by the time it is chosen: nothing changes but the sentence.
        shutil.rmtree(tmp_path / "models" / "torn")
        choose(page, "torn")
        page.wait_for_selector(ISSUE)
        assert "torn has no model_index.json" in page.locator(ISSUE).inner_text()
        assert page.locator(TITLE).inner_text() == "whole"

        choose(page, "The embedded model")
        await_title(page, "The embedded model")
        assert page.locator(ISSUE).count() == 0


def test_the_menu_of_a_public_page_says_that_only_its_host_changes_the_model(
    serve, visit_at, models, tmp_path
) -> None:
    public = ("--models", str(models), "--allowed-host", "studio.example")
    with serve(tmp_path / "jobs", tmp_path / "log", arguments=public) as (address, _server):
        page = visit_at(address)()
        await_title(page, "The embedded model")
        page.locator(".masthead .choose").click()
        offered = page.get_by_role("menuitem").all_inner_texts()
        assert offered == ["The embedded model · in use", page_strings.MODEL_OF_HOST]
        page.get_by_role("menuitem").last.click()
        assert page.locator(TITLE).inner_text() == "The embedded model"


def test_why_a_model_was_refused_outlasts_what_is_said_of_the_machine(
    serve, visit_at, models, tmp_path
) -> None:
    shutil.copytree(models, tmp_path / "models")
    with serve(tmp_path / "jobs", tmp_path / "log", arguments=("--models", str(tmp_path / "models"))) as (
        address,
        _server,
    ):
        with urlopen(f"{address.rstrip('/')}/config") as answer:
            events = json.load(answer)["dependencies"]
        ticks = {event["id"] for event in events if any(name == "tick" for _, name in event["targets"])}
        held = []

        def hold(route) -> None:
            is_tick = (route.request.post_data_json or {}).get("fn_index") in ticks
            held.append(route) if is_tick else route.continue_()

        # What the machine is comes late: after a model was refused.
        page = visit_at(address)(before=lambda page: page.route("**/run/predict*", hold))
        await_title(page, "The embedded model")
        while not held:
            page.wait_for_timeout(100)
        shutil.rmtree(tmp_path / "models" / "torn")
        choose(page, "torn")
        page.wait_for_selector(ISSUE)
        with page.expect_response(lambda answer: "/run/predict" in answer.url):
            held.pop(0).continue_()
        page.wait_for_timeout(500)
        assert "torn has no model_index.json" in page.locator(ISSUE).inner_text()
        page.locator(".issue button").click()
        assert page.locator(ISSUE).count() == 0
