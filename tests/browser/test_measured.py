"""Time and memory by size: a visitor measures, stops, and the figures are there for the next one too."""

import pytest

pytestmark = pytest.mark.browser


def test_a_visitor_measures_and_the_next_one_sees_the_figures(visit) -> None:
    page = visit()
    page.wait_for_selector(".masthead .machine:not(:empty)")
    part = page.locator(".panel .measured")
    part.locator(".measured-begin").click()
    page.wait_for_selector(".measured .of-attention circle")
    part.locator(".measured-end").click()
    page.wait_for_selector(".measured-begin:visible")
    assert part.locator(".of-gspn circle").count() >= 1
    part.get_by_role("button", name="Memory").click()
    assert "Highest memory" in (part.locator("svg").get_attribute("aria-label") or "")
    part.locator(".measured-figures > summary").click()
    figures = part.locator("tbody tr", has_text="GSPN").locator("td").first
    assert float(figures.inner_text()) > 0
    assert part.locator("thead th").first.inner_text() == "GB"

    other = visit(390, 844)
    other.locator(".measured > summary").click()
    other.wait_for_selector(".measured .of-gspn circle")
    assert "Measured on" in other.locator(".measured figcaption").inner_text()
