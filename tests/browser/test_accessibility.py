"""What axe-core finds on the page: nothing serious, in both themes, at a desk and on a phone."""

from pathlib import Path

import pytest

from tests.browser.conftest import Visits

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")
SIZES = {"desk": (1440, 900), "phone": (390, 844)}


def findings(page) -> list[str]:
    """Return what axe-core holds against the page as it stands: rule, weight and the first places of each."""
    page.add_script_tag(content=AXE.read_text("utf-8"))
    found = page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(result => result.violations)"
    )
    return [
        f"{rule['id']} ({rule['impact']}): {', '.join(str(node['target']) for node in rule['nodes'][:3])}"
        for rule in found
        if rule["impact"] in GRAVE
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_serious_is_found_on_the_page_before_a_run(visit, theme, size):
    width, height = SIZES[size]
    page = visit(width, height, color_scheme=theme)
    assert findings(page) == []


@pytest.fixture(scope="module")
def visitor_of_a_run(chromium, address):
    """Return the link of a finished run of two stages, and the storage of the browser that it belongs to."""
    visits = Visits(chromium, address)
    page = visits(path="?prompt=a+lake&seed=3&target=512&num_inference_steps=2")
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'a lake'")
    page.click("#run")
    page.wait_for_function("document.querySelectorAll('.ladder .get[download]').length === 2")
    found = page.evaluate("location.search"), page.context.storage_state()
    visits.close()
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_serious_is_found_with_a_run_and_in_every_place(visit, visitor_of_a_run, theme, size):
    width, height = SIZES[size]
    link, storage = visitor_of_a_run
    page = visit(width, height, path=link, color_scheme=theme, storage_state=storage)
    page.wait_for_function("document.querySelectorAll('.ladder .get[download]').length === 2")
    page.wait_for_selector(".deep:not(.covered)")
    page.locator(".stage-menu").first.click()
    page.wait_for_selector("[role=menu]")
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.click(".places button[data-place=history]")
    page.wait_for_selector(".history-grid li[data-state=done]")
    assert findings(page) == []
    page.click(".places button[data-place=compare]")
    page.click(".cmp-last-two")
    page.wait_for_function("document.querySelector('.cmp-figures dd')?.textContent.includes('dB')")
    assert findings(page) == []
    page.click(".places button[data-place=lab]")
    page.locator(".lab-axis-text").first.fill("0.3, 0.4")
    page.wait_for_selector(".lab-begin:enabled")
    assert findings(page) == []
