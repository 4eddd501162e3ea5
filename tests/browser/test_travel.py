"""Sliders whose equal parts change a picture by like amounts: moved by hand, by key and by typing."""

import json
from pathlib import Path

import pytest
from PIL import Image

from gspn_core.images.png import picture_info, write_png
from gspn_core.models.catalog import find_card
from gspn_core.planning.plan import make_plan
from gspn_core.settings import RANGES, Settings
from ui.shared.strings import labels

pytestmark = pytest.mark.browser

COSINE = "#field-cosine_scale_1"
STOPS, STEP = RANGES["cosine_scale_1"].travel, RANGES["cosine_scale_1"].step


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
    thumb(page).scroll_into_view_if_needed()
    drag(page, 0.5)
    assert float(number(page)) == pytest.approx(STOPS[2], abs=STEP / 2)
    assert thumb(page).get_attribute("aria-valuetext") == number(page)
    held = float(number(page))
    page.locator("#field-target label", has_text="256").first.click()
    page.click("#run")
    page.wait_for_function("location.search.includes('job=')")
    run = page.evaluate("new URLSearchParams(location.search).get('job')")
    record = json.loads((jobs_folder / run / "job.json").read_text("utf-8"))
    assert record["view"]["settings"]["cosine_scale_1"] == held
    page.click("#stop")
    page.wait_for_function("['stopped', 'done'].includes(document.querySelector('#studio').dataset.state)")


def test_the_native_slider_is_out_of_view_and_out_of_reach(visit) -> None:
    page = visit()
    thumb(page).wait_for()
    native = page.locator(f"{COSINE} input[type=range]:not(.travel)")
    assert not native.is_visible()
    page.locator(f"{COSINE} input[type=number]").focus()
    page.keyboard.press("Tab")
    assert thumb(page).evaluate("thumb => thumb === document.activeElement")
    assert page.get_by_role("slider", name=labels.LABELS["cosine_scale_1"]).count() == 1
    assert page.locator(f"{COSINE} label").first.get_attribute("for") == "travel-cosine_scale_1"


@pytest.fixture
def picture(tmp_path) -> Path:
    """Return a picture of the studio's that was made with the fourth stop of the slider."""
    asked = Settings(prompt="a lake", seed=3, target=256, cosine_scale_1=STOPS[3])
    path = tmp_path / "of-the-fourth-stop.png"
    info = picture_info(make_plan(asked, find_card("world")), 0, {})
    write_png(path, Image.new("RGB", (256, 256), "teal"), info)
    return path


def test_typing_moves_the_thumb_and_so_does_the_server(visit, picture) -> None:
    page = visit()
    thumb(page).wait_for()
    page.locator(f"{COSINE} input[type=number]").fill(f"{STOPS[1]:g}")
    wait_for_thumb(page, "250")
    assert thumb(page).get_attribute("aria-valuetext") == f"{STOPS[1]:g}"
    page.set_input_files(".drop-file", str(picture))
    wait_for_thumb(page, "750")
    assert number(page) == thumb(page).get_attribute("aria-valuetext") == f"{STOPS[3]:g}"


def test_keys_move_by_steps_of_the_setting(visit) -> None:
    page = visit()
    thumb(page).wait_for()
    thumb(page).focus()
    # A tenth of the way is two fifths of the first of four parts.
    paged = round(0.4 * STOPS[1] / STEP) * STEP
    presses = {
        "End": STOPS[-1],
        "ArrowLeft": STOPS[-1] - STEP,
        "Home": STOPS[0],
        "ArrowRight": STEP,
        "ArrowDown": STOPS[0],
        "PageUp": paged,
        "ArrowUp": paged + STEP,
    }
    for key, value in presses.items():
        page.keyboard.press(key)
        assert number(page) == f"{value:g}", key
        assert thumb(page).get_attribute("aria-valuetext") == f"{value:g}", key
    page.keyboard.press("End")
    page.keyboard.press("PageDown")
    assert STOPS[-2] < float(number(page)) < STOPS[-1] - STEP


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
