"""Deep zoom in a real Chromium, over a stored run of 8192 px."""

import numpy as np
import pytest

from gspn_core.images.tiles import TILE_PX, tiles_info
from tests.browser.deep_zoom import DEEP, VIEWER, choose, settled, tiles_of, watch_tiles

pytestmark = pytest.mark.browser

pytestmark = pytest.mark.browser
# Wide bounds: the machine may be busy. Alone, a quarter of these is enough.
OPEN_SECONDS = 4.0
MEDIAN_FRAME_MS = 120.0
SLOW_PHONE = 4


def test_the_whole_picture_is_shown_first_and_one_to_one_is_one_pixel_for_one(deep) -> None:
    page = deep()
    assert page.get_attribute(".zoom-fit", "aria-pressed") == "true"
    assert page.locator(".map").is_hidden()
    page.keyboard.press("z")
    settled(page)
    assert page.inner_text(".percent") == "100 %"
    assert page.evaluate(f"{DEEP}.devicePx()") == pytest.approx(8192, abs=0.01)
    assert page.locator(".map").is_visible()


def test_at_one_to_one_the_canvas_holds_the_very_pixels(deep) -> None:
    page = deep(device_scale_factor=2)
    page.evaluate(f"{DEEP}.goTo({{ x: 0.5123, y: 0.5077, zoom: {DEEP}.place().zoom }}, true)")
    page.keyboard.press("z")
    settled(page)
    row, left = page.evaluate(
        f"""() => {{
          const viewer = {VIEWER};
          const corner = viewer.viewport.pixelFromPointNoRotate(new OpenSeadragon.Point(0.5, 0.5), true);
          const [left, top] = [corner.x * 2, corner.y * 2];
          const {{ context }} = viewer.drawer;
          const row = context.getImageData(Math.round(left), Math.round(top) + 40, 128, 1).data;
          return [[...row].filter((_, i) => i % 4 === 0), left];
        }}"""
    )
    assert left == pytest.approx(round(left), abs=0.01)
    stripes = np.tile([255, 0, 0, 0], 32)
    assert np.abs(np.array(row) - stripes).max() < 24


def test_another_stage_is_shown_at_the_same_place_and_size(deep) -> None:
    page = deep()
    page.keyboard.press("z")
    settled(page)
    before = page.evaluate(f"[{DEEP}.place(), {DEEP}.cssPx()]")
    choose(page, 1)
    assert page.evaluate(f"[{DEEP}.place(), {DEEP}.cssPx()]") == before
    assert page.inner_text(".percent") == "800 %"
    assert page.evaluate(f"{VIEWER}.drawer.context.imageSmoothingEnabled") is False
    choose(page, 2)
    assert page.evaluate(f"[{DEEP}.place(), {DEEP}.cssPx()]") == before
    assert page.evaluate(f"{VIEWER}.drawer.context.imageSmoothingEnabled") is True


def test_only_tiles_in_view_are_asked_for(deep) -> None:
    page = deep(width=390, height=844)
    requests = watch_tiles(page)
    page.keyboard.press("z")
    settled(page)
    asked = tiles_of(requests)
    top = tiles_info(8192, 8192).levels - 1
    seen = page.evaluate(f"{DEEP}.view()")
    first = [int(seen[side] * 8192) // TILE_PX for side in ("left", "top")]
    last = [int((seen[a] + seen[b]) * 8192) // TILE_PX for a, b in (("left", "width"), ("top", "height"))]
    wanted = {
        (column, row) for column in range(first[0], last[0] + 1) for row in range(first[1], last[1] + 1)
    }
    sharp = {(column, row) for level, column, row in asked if level == top}
    assert wanted <= sharp
    # A tile next to the view may come with it; the rest of the 256 must not.
    next_to = {(column + x, row + y) for column, row in wanted for x in (-1, 0, 1) for y in (-1, 0, 1)}
    assert sharp <= next_to
    assert len(asked) == len(set(asked)) < 60


def test_a_stage_that_was_seen_is_shown_again_without_asking(deep) -> None:
    page = deep()
    choose(page, 1)
    choose(page, 2)
    requests = watch_tiles(page)
    choose(page, 1)
    choose(page, 2)
    assert [url for url in requests if ".tiles/" in url] == []


def test_the_keys_move_and_zoom(deep) -> None:
    page = deep()
    page.locator(".deep [role=img]").focus()
    places = []
    for key in ("+", "+", "ArrowRight", "ArrowDown", "-", "0"):
        page.keyboard.press(key)
        settled(page)
        places.append(page.evaluate(f"{DEEP}.place()"))
    near, nearer, right, down, back, home = places
    assert nearer["zoom"] > near["zoom"] > home["zoom"]
    assert right["x"] > nearer["x"] and right["zoom"] == pytest.approx(nearer["zoom"])
    assert down["y"] > right["y"]
    assert back["zoom"] == pytest.approx(near["zoom"])
    assert page.get_attribute(".zoom-fit", "aria-pressed") == "true"
    page.keyboard.press("f")
    page.wait_for_selector(".enlarge[aria-pressed=true]")
    box = page.locator(".viewer").bounding_box()
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 1440, 900)
    page.keyboard.press("f")
    page.wait_for_selector(".enlarge[aria-pressed=false]")


def test_the_wheel_zooms_where_it_points_and_a_double_click_goes_to_one_to_one_and_back(deep) -> None:
    page = deep()
    box = page.locator(".deep").bounding_box()
    x, y = box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.4
    under = f"{VIEWER}.viewport.pointFromPixel(new OpenSeadragon.Point({x - box['x']}, {y - box['y']}), true)"
    before = page.evaluate(f"(({{ x, y }}) => [x, y])({under})")
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    settled(page)
    assert page.evaluate(f"{DEEP}.place().zoom") > 1.5
    assert page.evaluate(f"(({{ x, y }}) => [x, y])({under})") == pytest.approx(before, abs=0.002)
    page.keyboard.press("0")
    settled(page)
    page.mouse.dblclick(x, y)
    settled(page)
    assert page.evaluate(f"{DEEP}.atFull()") is True
    page.mouse.dblclick(x, y)
    settled(page)
    assert page.evaluate(f"{DEEP}.atFit()") is True


def test_the_map_shows_and_moves_what_is_in_view(deep) -> None:
    page = deep()
    page.keyboard.press("z")
    settled(page)
    box = page.locator(".map").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.75)
    settled(page)
    place = page.evaluate(f"{DEEP}.place()")
    assert (place["x"], place["y"]) == pytest.approx((0.25, 0.75), abs=0.01)
    part = page.locator(".map i").bounding_box()
    middle = part["x"] + part["width"] / 2 - box["x"], part["y"] + part["height"] / 2 - box["y"]
    assert middle == pytest.approx((box["width"] * 0.25, box["height"] * 0.75), abs=2)


def test_where_no_full_screen_is_allowed_the_picture_fills_the_page_until_escape(deep) -> None:
    page = deep()
    page.evaluate(
        "() => { Element.prototype.requestFullscreen = async () => { throw new Error('refused'); }; }"
    )
    page.keyboard.press("f")
    page.wait_for_selector(".enlarge[aria-pressed=true]")
    box = page.locator(".viewer").bounding_box()
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 1440, 900)
    page.keyboard.press("Escape")
    page.wait_for_selector(".enlarge[aria-pressed=false]")
    settled(page)
    assert page.evaluate(f"{DEEP}.atFit()") is True


def test_a_finger_scrolls_past_a_whole_picture_and_moves_an_enlarged_one(deep) -> None:
    page = deep(width=390, height=844, has_touch=True, is_mobile=True)
    session = page.context.new_cdp_session(page)

    def swipe_up() -> None:
        for kind, y in [
            ("touchStart", 300),
            *(("touchMove", 300 - 15 * i) for i in range(10)),
            ("touchEnd", 0),
        ]:
            points = [] if kind == "touchEnd" else [{"x": 200, "y": y}]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            page.wait_for_timeout(16)
        page.wait_for_timeout(400)

    swipe_up()
    assert page.evaluate("scrollY") > 40
    assert page.evaluate(f"{DEEP}.atFit()") is True
    page.evaluate("scrollTo(0, 0)")
    page.click(".zoom-full")
    settled(page)
    before = page.evaluate(f"{DEEP}.place().y")
    swipe_up()
    assert page.evaluate("scrollY") == 0
    assert page.evaluate(f"{DEEP}.place().y") > before


def test_who_wants_less_motion_gets_none(deep) -> None:
    page = deep(reduced_motion="reduce")
    page.keyboard.press("z")
    page.wait_for_timeout(60)
    assert page.evaluate(f"{DEEP}.atFull() && {DEEP}.devicePx()") == pytest.approx(8192, abs=0.01)


def test_linked_viewers_stay_at_one_place_and_come_to_rest(deep) -> None:
    page = deep()
    page.evaluate(
        f"""() => {{
          const stage = {DEEP}.stage();
          const make = (width) => {{
            const pane = document.createElement("div");
            pane.style = `position: fixed; z-index: 90; top: 0; width: ${{width}}px; height: 301px`;
            document.body.append(pane);
            const viewer = window.studio.viewer(pane, {{ label: "pane" }});
            viewer.deep.show(stage);
            return viewer;
          }};
          window.panes = [make(401), make(333)];
          window.letGo = window.studio.link(window.panes);
        }}"""
    )
    page.wait_for_function("window.panes.every((pane) => pane.deep.seen())")
    places = "window.panes.map(({ deep }) => [deep.place().x, deep.place().y, deep.cssPx()])"
    for act in ("panes[0].deep.full()", "panes[1].deep.goTo({ x: 0.31, y: 0.42, zoom: 9 })"):
        page.evaluate(act)
        page.wait_for_timeout(900)
        one, other = page.evaluate(places)
        assert one == pytest.approx(other, rel=1e-6)
        page.wait_for_timeout(200)
        assert page.evaluate(places) == [one, other]
    page.evaluate("letGo(); panes[0].deep.fit()")
    page.wait_for_timeout(900)
    one, other = page.evaluate(places)
    assert one[2] != pytest.approx(other[2])


def test_on_a_slow_phone_8192_px_open_at_once_and_move(deep, record_property) -> None:
    page = deep(width=390, height=844, device_scale_factor=2, has_touch=True)
    choose(page, 1)
    page.keyboard.press("z")
    settled(page)
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOW_PHONE})
    opened = page.evaluate(
        f"""() => new Promise((resolve) => {{
          const began = performance.now();
          const card = document.querySelectorAll(".ladder .card")[1];
          {VIEWER}.addHandler("deep-shown", () => {{
            const items = {VIEWER}.world.getItemCount();
            {VIEWER}.world.getItemAt(items - 1).whenFullyLoaded(() =>
              requestAnimationFrame(() => resolve(performance.now() - began)));
          }});
          card.click();
        }})"""
    )
    page.evaluate(
        """() => {
          window.frames_ = [];
          let last = performance.now();
          const tick = (now) => { window.frames_.push(now - last); last = now; requestAnimationFrame(tick); };
          requestAnimationFrame(tick);
        }"""
    )
    page.mouse.move(300, 300)
    page.mouse.down()
    for step in range(40):
        page.mouse.move(300 - 5 * step, 300 - 3 * step)
    page.mouse.up()
    page.wait_for_timeout(600)
    frames = np.array(page.evaluate("window.frames_")[2:])
    figures = {
        "open_ms": round(opened),
        "frame_median_ms": round(float(np.median(frames)), 1),
        "frame_p95_ms": round(float(np.percentile(frames, 95)), 1),
        "frames": len(frames),
    }
    record_property("figures", figures)
    print(figures)  # noqa: T201 - the measurement itself, shown with -s
    assert opened < 1000 * OPEN_SECONDS
    assert np.median(frames) < MEDIAN_FRAME_MS
