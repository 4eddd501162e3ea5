"""Sliders whose equal parts change a picture by like amounts: moved by hand, by key and by typing."""

import json

import pytest

pytestmark = pytest.mark.browser

COSINE = "#field-cosine_scale_1"


def number(page, field: str = COSINE) -> str:
    return page.locator(f"{field} input[type=number]").input_value()


def thumb(page, field: str = COSINE):
    return page.locator(f"{field} input.travel")


def wait_for_thumb(page, position: str, field: str = COSINE) -> None:
    page.wait_for_function(
        "([field, position]) => document.querySelector(field + ' input.travel').value === position",
        arg=[field, position],
    )


def drag(page, share: float, field: str = COSINE) -> None:
    """Press near the end, which takes the thumb by its middle, and move it to a share of the way."""
    box = thumb(page, field).bounding_box()
    # The thumb's middle does not reach the ends: half of its width is left at each.
    middle, half = box["y"] + box["height"] / 2, 7
    page.mouse.move(box["x"] + 0.9 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + half + share * (box["width"] - 2 * half), middle, steps=4)
    page.mouse.up()


def test_half_of_the_way_is_the_middle_stop_in_the_box_and_in_the_run(visit, jobs_folder) -> None:
    page = visit()
    thumb(page).wait_for()
    page.locator("#field-target label", has_text="256").first.click()
    thumb(page).scroll_into_view_if_needed()
    drag(page, 0.5)
    assert number(page) == "0.5"
    assert thumb(page).get_attribute("aria-valuetext") == "0.5"
    page.click("#run")
    page.wait_for_function("location.search.includes('job=')")
    run = page.evaluate("new URLSearchParams(location.search).get('job')")
    page.wait_for_selector(".ladder li.done .get[download]")
    record = json.loads((jobs_folder / run / "job.json").read_text("utf-8"))
    assert record["view"]["settings"]["cosine_scale_1"] == 0.5


def test_the_native_slider_is_out_of_view_and_out_of_reach(visit) -> None:
    page = visit()
    thumb(page).wait_for()
    native = page.locator(f"{COSINE} input[type=range]:not(.travel)")
    assert not native.is_visible()
    page.locator(f"{COSINE} input[type=number]").focus()
    page.keyboard.press("Tab")
    assert thumb(page).evaluate("thumb => thumb === document.activeElement")
    assert page.get_by_role("slider", name="Skip-residual decay").count() == 1
    assert page.locator(f"{COSINE} label").first.get_attribute("for") == "travel-cosine_scale_1"


def test_typing_moves_the_thumb_and_so_does_the_server(visit) -> None:
    page = visit()
    thumb(page).wait_for()
    page.locator(f"{COSINE} input[type=number]").fill("1")
    wait_for_thumb(page, "750")
    assert thumb(page).get_attribute("aria-valuetext") == "1"
    page.locator("#field-target label", has_text="256").first.click()
    page.click("#run")
    page.wait_for_selector(".ladder li.done")
    page.locator(f"{COSINE} input[type=number]").fill("0")
    wait_for_thumb(page, "0")
    visit.reload(page)
    wait_for_thumb(page, "750")
    assert number(page) == "1"


def test_keys_move_by_steps_of_the_setting(visit) -> None:
    page = visit()
    thumb(page).wait_for()
    thumb(page).focus()
    found = []
    for key in ("End", "ArrowLeft", "PageDown", "Home", "PageUp", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
        found.append((number(page), thumb(page).get_attribute("aria-valuetext")))
    values = [value for value, _ in found]
    assert values == ["3", "2.95", "2.15", "0", "0.1", "0.15", "0.1"]
    assert [said for _, said in found] == values


def test_gradio_hears_of_the_hand_as_of_its_own_slider(visit) -> None:
    page = visit()
    thumb(page).wait_for()
    thumb(page).scroll_into_view_if_needed()
    page.evaluate(
        """field => {
            window.heard = new Set();
            const native = document.querySelector(field + " input[type=range]:not(.travel)");
            for (const name of ["input", "change", "pointerup"])
                native.addEventListener(name, () => window.heard.add(name));
        }""",
        COSINE,
    )
    drag(page, 0.75)
    assert sorted(page.evaluate("[...window.heard]")) == ["change", "input", "pointerup"]
