"""What the Lab and Compare open with, until the visitor has something of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"
SEEN = (
    "[...document.querySelectorAll('.lab-grid img:not([hidden])')].filter((one) => one.naturalWidth).length"
)
TIMEOUT_MS = 60_000
SIZES = [(1440, 900), (390, 844)]


@pytest.fixture(scope="module")
def with_examples(tmp_path_factory, serve_with) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("samples")
    script = "tests/browser/painted_app.py"
    with serve_with(folder / "jobs", folder / "app.log", script=script, arguments=()) as (address, _server):
        yield address


def go(page, place: str) -> None:
    page.evaluate("place => window.studio.go(place)", place)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_lab_opens_with_a_grid_that_becomes_the_visitor_s(with_examples, visit_at, width, height) -> None:
    visits = visit_at(with_examples)
    page = visits(width, height)
    page.set_default_timeout(TIMEOUT_MS)
    go(page, "lab")
    page.wait_for_function(f"{SEEN} === 9")
    assert page.inner_text(".lab-name b") == "Steps × CFG scale"
    assert "Sample" in page.inner_text(".lab-name span")
    assert page.locator(".lab-pick option:enabled").all_inner_texts() == [
        "Similarity to base",
        "Added detail",
        "Prompt match",
    ]
    assert page.locator(".lab-figure").first.inner_text() == "83 %"
    for name in ("stop", "resume", "export", "sheet", "compare"):
        assert page.locator(f".lab-bar .lab-{name}").is_hidden()
    page.click(".lab-adopt")
    page.wait_for_function("document.querySelector('.lab-cost').textContent.includes('9 cells')")
    assert page.locator(".lab-axis-text").nth(0).input_value() == "1, 3, 8"
    assert page.locator(".lab-axis-text").nth(1).input_value() == "3, 8, 24"
    assert "hot air balloon" in page.inner_text(".lab-base")
    page.click(".lab-begin")
    page.wait_for_function("/Done.*9 of 9/.test(document.querySelector('.lab-name').textContent)")
    assert page.locator(".lab-adopt").is_hidden() and page.locator(".lab-sheet").is_visible()
    # Once removed, nothing is the visitor's any more.
    page.click(".lab-past-remove")
    page.wait_for_selector(".lab-adopt:visible")
    assert visits.errors == [] and visits.elsewhere == []


def test_what_the_form_held_comes_back(with_examples, visit_at) -> None:
    page = visit_at(with_examples)()
    # The example has filled the form by then.
    page.wait_for_selector(".deep:not(.covered)")
    page.locator("#field-prompt textarea").fill("my own words")
    go(page, "lab")
    page.wait_for_selector(".lab-adopt:visible")
    page.click(".lab-adopt")
    page.wait_for_function("document.querySelector('.lab-cost').textContent.includes('9 cells')")
    go(page, "studio")
    page.click(".drop-undo")
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'my own words'")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_compare_opens_with_a_pair_until_a_run_is_there(with_examples, visit_at, width, height) -> None:
    visits = visit_at(with_examples)
    page = visits(width, height)
    page.set_default_timeout(TIMEOUT_MS)
    page.wait_for_selector(".deep:not(.covered)")
    go(page, "compare")
    page.wait_for_function("document.querySelectorAll('.cmp-items li').length === 2")
    page.wait_for_function("document.querySelector('.cmp-figures dd')?.textContent.includes('dB')")
    tags = page.locator(".cmp-tag").all_inner_texts()
    assert "256 × 256" in tags[0] and "2048 × 2048" in tags[1]
    assert page.inner_text(".cmp-said").startswith("A sample")
    assert "items=" not in page.url and page.locator(".cmp-empty").is_hidden()
    go(page, "studio")
    page.locator("#field-target label", has_text="512").first.click()
    page.click("#run")
    page.wait_for_selector(".gallery", state="hidden")
    page.wait_for_function(f"{STATE} === 'done'")
    go(page, "compare")
    page.wait_for_selector(".cmp-empty:visible")
    assert page.locator(".cmp-items li").count() == 0 and page.locator(".cmp-last-two").is_enabled()
    assert page.locator(".cmp-said").is_hidden()
    assert visits.errors == [] and visits.elsewhere == []
