"""Pin as A: a result stays, and the next run of its size is compared with it."""

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"
LINK = "?prompt=green+hills+by+day&seed=13&target=512&num_inference_steps=4&upscale_strength=0.3"


def finished(page) -> str:
    page.wait_for_function(f"{STATE} === 'done' && studio.run?.job")
    return page.evaluate("studio.run.job")


def run(page) -> str:
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'green hills by day'")
    page.click("#run")
    return finished(page)


def set_strength(page, value: str) -> None:
    control = page.locator("#field-upscale_strength input[type=number]")
    control.fill(value)
    control.press("Tab")


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (820, 1180), (390, 844)])
def test_a_pinned_result_is_compared_with_the_next_run_by_itself(visit_painted, width, height) -> None:
    page = visit_painted(width, height, path=LINK)
    first = run(page)
    page.wait_for_selector(".deep:not(.covered)")
    # From here to the comparison: a press on Pin, the other strength, a press on Run.
    page.click(".tools .pin")
    assert page.locator(".tools .pin").get_attribute("aria-pressed") == "true"
    assert page.inner_text(".pinned span") == "512 × 512"
    set_strength(page, "0.5")
    page.click("#run")
    page.wait_for_selector("#studio[data-place=compare]")
    page.wait_for_function("document.querySelectorAll('.cmp-items li').length === 2")
    tags = page.locator(".cmp-pane:not(.cmp-heat) .cmp-tag")
    assert tags.nth(0).inner_text() == "A · Upscale denoise 0.3"
    assert tags.nth(1).inner_text() == "B · Upscale denoise 0.5"
    items = page.evaluate("new URL(location.href).searchParams.get('items')").split(",")
    assert items[0] == f"{first}.1" and not items[1].startswith(first)
    page.click(".places button[data-place=studio]")
    # It stays A until it is let go, over a reload as well.
    visit_painted.reload(page)
    page.wait_for_selector(".pinned:not([hidden])")
    page.get_by_role("button", name="Compare with A").wait_for()
    page.click(".pinned .unpin")
    page.wait_for_selector(".pinned", state="hidden")
    assert page.get_by_role("button", name="Compare with A").count() == 0


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (820, 1180), (390, 844)])
def test_run_both_compares_two_mixers_at_one_press(visit_painted, width, height) -> None:
    page = visit_painted(width, height, path=LINK + "&mixer=neighborhood")
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'green hills by day'")
    page.click("#run-both")
    page.wait_for_selector("#studio[data-place=compare]")
    page.wait_for_function("document.querySelectorAll('.cmp-items li').length === 2")
    tags = page.locator(".cmp-pane:not(.cmp-heat) .cmp-tag")
    assert tags.all_inner_texts()[:2] == ["A · Token mixing Neighborhood", "B · Token mixing GSPN"]
    page.click(".places button[data-place=studio]")
    # What going on would take stands on its button.
    page.locator(".actions button", has_text="Upscale to 1024 · ").wait_for()
    assert "GB" in page.locator(".actions button", has_text="Upscale to 1024").get_attribute("title")


def test_what_is_pinned_by_key_or_menu_is_compared_at_one_press(visit_painted) -> None:
    page = visit_painted(path=LINK + "&token=1")
    first = run(page)
    set_strength(page, "0.6")
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done' && studio.run.job !== '{first}'")
    second = page.evaluate("studio.run.job")
    assert page.evaluate("studio.place") == "studio"
    page.locator(".stage-menu").first.click()
    page.get_by_role("menuitem", name="Pin as A").click()
    assert page.locator(".ladder li.pinned-a b").inner_text() == "256 × 256"
    # By key the stage in the picture becomes A in its place.
    page.locator(".openseadragon-canvas").first.focus()
    page.keyboard.press("p")
    page.wait_for_function("document.querySelector('.pinned span').textContent === '512 × 512'")
    page.evaluate(f"studio.act('open', {{job: '{first}'}})")
    page.wait_for_function(f"studio.run.job === '{first}'")
    page.get_by_role("button", name="Compare with A").wait_for()
    assert page.get_by_role("button", name="Compare with the run before").count() == 0
    page.keyboard.press("c")
    page.wait_for_selector("#studio[data-place=compare]")
    items = page.evaluate("new URL(location.href).searchParams.get('items')")
    assert items == f"{second}.1,{first}.1"


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (820, 1180), (390, 844)])
def test_no_tool_covers_a_whole_picture(visit_painted, width, height) -> None:
    page = visit_painted(width, height, path=LINK)
    run(page)
    page.wait_for_selector(".deep:not(.covered)")
    page.click(".tools .pin")
    page.wait_for_timeout(700)
    box = page.evaluate(
        """() => {
          const { viewport } = OpenSeadragon.getViewer(document.querySelector('.deep'));
          const from = viewport.pixelFromPointNoRotate(new OpenSeadragon.Point(0, 0));
          const to = viewport.pixelFromPointNoRotate(new OpenSeadragon.Point(1, 1));
          return [from.y, to.y];
        }"""
    )
    top = page.locator(".viewer").bounding_box()["y"]
    for selector in (".tools", ".pinned"):
        over = page.locator(selector).bounding_box()
        over_top, over_bottom = over["y"] - top, over["y"] - top + over["height"]
        assert over_bottom <= box[0] + 1 or over_top >= box[1] - 1, (selector, box, over)
