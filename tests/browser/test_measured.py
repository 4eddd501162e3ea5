"""Time and memory by size: a visitor measures, stops, and the figures are there for the next one too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def quiet_address(tmp_path_factory, serve_script) -> Iterator[str]:
    """Return the address of a page whose machine is never found busy."""
    folder, script = tmp_path_factory.mktemp("quiet"), Path(__file__).with_name("quiet_app.py")
    with serve_script(script, folder / "jobs", folder / "app.log") as (address, _server):
        yield address


def test_a_visitor_measures_and_the_next_one_sees_the_figures(visit_at, quiet_address) -> None:
    visit = visit_at(quiet_address)
    page = visit()
    page.wait_for_selector(".masthead .machine:not(:empty)")
    part = page.locator(".panel .measured")
    part.locator(".measured-begin").click()
    page.wait_for_selector(".measured .of-attention circle")
    part.locator(".measured-end").click()
    page.wait_for_selector(".measured-begin:visible")
    assert part.locator(".of-gspn circle").count() >= 1
    part.get_by_role("button", name="Memory").click()
    assert "Peak memory" in (part.locator("svg").get_attribute("aria-label") or "")
    part.locator(".measured-figures > summary").click()
    figures = part.locator("tbody tr", has_text="GSPN").locator("td").first
    assert float(figures.inner_text()) > 0
    assert part.locator("thead th").first.inner_text() == "GB"

    other = visit(390, 844)
    other.locator(".measured > summary").click()
    other.wait_for_selector(".measured .of-gspn circle")
    assert "Measured on" in other.locator(".measured figcaption").inner_text()
