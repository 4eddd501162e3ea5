"""The first screen: a picture before any click, and the model's examples to open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"
MOST_BYTES = 1.5e6


@pytest.fixture(scope="module")
def with_examples(tmp_path_factory, serve_with) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("examples")
    with serve_with(folder / "jobs", folder / "app.log", arguments=()) as (address, _server):
        yield address


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (834, 1112), (390, 844)])
def test_a_picture_is_there_before_any_click_and_costs_little(with_examples, visit_at, width, height) -> None:
    answers: list[Any] = []
    visits = visit_at(with_examples)

    def watch(page) -> None:
        page.on("response", lambda answer: answers.append(answer))

    page = visits(width, height, before=watch)
    page.wait_for_selector(".deep:not(.covered)")
    assert page.evaluate(STATE) == "done"
    assert page.locator("#run").is_enabled()
    assert "Run draws your own" in page.inner_text(".gallery")
    # What may be kept comes over the network once; shown again, it is the browser's own copy.
    sizes: dict[str, int] = {}
    for number, answer in enumerate(answers):
        is_kept = "max-age" in answer.headers.get("cache-control", "")
        address = answer.url if is_kept else f"{number}"
        sizes[address] = int(answer.headers.get("content-length", 0))
    assert 5e5 < sum(sizes.values()) < MOST_BYTES
    # The form has its own settings: its size is the model's default, not the example's.
    assert page.locator("#field-target input:checked").input_value() == "1024"
    _check_line(page)
    gallery = page.locator(".gallery button")
    assert gallery.count() >= 6
    page.wait_for_function(
        "[...document.querySelectorAll('.gallery img')].slice(0, 3).every((image) => image.naturalWidth)"
    )
    assert gallery.first.get_attribute("aria-current") == "true"
    assert gallery.first.bounding_box()["width"] > 80
    assert visits.errors == [] and visits.elsewhere == []


def _check_line(page: Any) -> None:
    """The line between the first stage and the last is moved by hand and by keys, and the picture stays."""
    handle = page.locator(".split-handle")
    where, zoom = "Number(document.querySelector('.split-handle').ariaValueNow)", page.inner_text(".percent")
    at = page.evaluate(where)
    box = handle.bounding_box()
    assert box["width"] >= 44
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 100, middle[1], steps=3)
    page.mouse.up()
    page.wait_for_function(f"{where} < {at} - 5")
    moved = page.evaluate(where)
    handle.press("ArrowRight")
    assert page.evaluate(where) == moved + 2
    assert page.inner_text(".percent") == zoom
    assert page.locator(".split-tag").all_inner_texts() == ["256 × 256", "2048 × 2048"]
    # Pictures lie on dark ground, and the page's own font came with it.
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.viewer')).backgroundColor")
        == "rgb(12, 12, 12)"
    )
    assert page.evaluate("document.fonts.check('14px Inter')")


def test_an_example_opens_at_once_and_gives_way_to_a_run(with_examples, visit_at) -> None:
    visits = visit_at(with_examples)
    page = visits()
    page.wait_for_selector(".deep:not(.covered)")
    second = page.locator(".gallery button").nth(1)
    second.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".gallery li:nth-child(2) [aria-current=true]")
    prompt = second.get_attribute("title")
    assert page.locator("#field-prompt textarea").input_value() == prompt
    page.locator("#field-target label", has_text="256").first.click()
    page.click("#run")
    page.wait_for_selector(".gallery", state="hidden")
    assert page.locator(".split-handle").is_hidden()
    page.wait_for_function(f"{STATE} === 'done'")
    assert page.locator(".ladder li").count() == 1
    # The run of one's own is what this browser comes back to.
    page.goto(with_examples)
    page.wait_for_function(f"{STATE} === 'done'")
    page.wait_for_selector(".restored:not([hidden])")
    assert page.locator(".gallery").is_hidden()
    assert visits.errors == []
