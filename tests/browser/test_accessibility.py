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
def test_nothing_serious_is_found_on_the_page_before_a_run(visit, theme, size):
    width, height = SIZES[size]
    page = visit(width, height, color_scheme=theme)
    assert findings(page) == []
