"""What axe-core finds on the page: nothing serious, in both themes, at a desk and on a phone."""

from pathlib import Path

import pytest

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
def test_nothing_serious_is_found_on_the_page_before_a_run(visit_painted, theme, size):
    width, height = SIZES[size]
    page = visit_painted(width, height, color_scheme=theme)
    page.wait_for_selector(".presets button")
    page.click(".vocabulary summary")
    page.wait_for_selector(".family button")
    assert findings(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_serious_is_found_with_a_run_and_in_every_place(visit_painted, theme, size):
    width, height = SIZES[size]
    page = visit_painted(width, height, color_scheme=theme)
    page.locator("#field-target label", has_text="256").first.click()
    page.click("#run")
    page.wait_for_selector(".ladder li.done .get[download]")
    page.click(".stage-menu")
    page.wait_for_selector("[role=menu]")
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.click(".tools .pin")
    page.wait_for_selector(".pinned:not([hidden])")
    assert findings(page) == []
    page.click(".pinned .unpin")
    page.click(".places button[data-place=history]")
    page.wait_for_selector(".history-grid li[data-state=done]")
    assert findings(page) == []
    page.click(".places button[data-place=studio]")
    page.locator("#field-target label", has_text="512").first.click()
    page.click("#run")
    page.wait_for_function("document.querySelectorAll('.ladder .get[download]').length === 2")
    page.click(".places button[data-place=compare]")
    page.click(".cmp-last-two")
    page.wait_for_function("document.querySelector('.cmp-figures dd')?.textContent.includes('dB')")
    assert findings(page) == []
    page.click(".cmp-blind-toggle")
    page.wait_for_selector(".cmp.blind:not(.shuffling)")
    assert findings(page) == []
    page.click(".cmp-votes button")
    page.wait_for_selector(".cmp-tally[open]")
    assert findings(page) == []
    page.click(".places button[data-place=lab]")
    page.locator(".lab-axis-text").first.fill("0.3, 0.4")
    page.wait_for_selector(".lab-begin:enabled")
    assert findings(page) == []
