"""What does not fit is marked, helped by one press, and the press is undone; by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def planned_address(tmp_path_factory, serve_script) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("suggestions")
    with serve_script(Path(__file__).with_name("planned_app.py"), folder / "jobs", folder / "app.log") as (
        address,
        _server,
    ):
        yield address


def test_a_press_makes_a_target_that_does_not_fit_smaller_and_another_undoes_it(
    planned_address, visit_at
) -> None:
    visits = visit_at(planned_address)
    page = visits()
    page.locator("#field-target label", has_text="2048").click()
    card = page.locator(".ladder li.over")
    card.wait_for()
    assert card.locator("b").inner_text() == "2048 × 2048"
    assert "needs" in card.locator(".lines").inner_text()
    page.locator("#run").click()
    page.wait_for_function("document.querySelector('.notice').innerText.includes('of memory at least')")
    help_ = page.locator(".suggestions button", has_text="Output size 1024 instead")
    assert help_.get_attribute("title").startswith("about ")
    help_.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.notice').innerText.includes('1024 (was 2048)')")
    page.wait_for_function("!document.querySelector('.ladder .over')")
    assert page.locator("#field-target input:checked").input_value() == "1024"
    # Whoever pressed the button, which is gone, has the way back at hand.
    page.wait_for_function("document.activeElement.closest('.notice')")
    page.keyboard.press("Enter")
    page.locator(".ladder li.over").wait_for()
    assert page.locator("#field-target input:checked").input_value() == "2048"
    assert not page.locator(".notice").is_visible()
    assert visits.errors == [] and visits.elsewhere == []
