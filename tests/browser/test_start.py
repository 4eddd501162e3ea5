"""A picture of the visitor's own is an init image, and so is a finished stage of a run."""

import base64

import numpy as np
import pytest
from PIL import Image

from gspn_core.images.load import cropped

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio').dataset.state"
DROP = """([name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type: "image/png" }));
  const how = { dataTransfer: carried, bubbles: true, cancelable: true };
  document.body.dispatchEvent(new DragEvent("drop", how));
}"""


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """Return a file of soft hills, 320 × 240 px, that tells no settings."""
    y, x = np.mgrid[0:240, 0:320] / 240
    ridge = 0.5 + 0.1 * np.sin(7 * x) + 0.05 * np.sin(23 * x)
    ground = np.clip((y - ridge) * 30, 0, 1)[..., None]
    pixels = (1 - ground) * np.array([150, 180, 220]) + ground * np.array([70, 110, 60])
    path = tmp_path_factory.mktemp("start") / "photo.png"
    Image.fromarray(pixels.astype("uint8")).save(path)
    return path


def draw_small(page) -> None:
    """Run what the page holds in one stage of three steps."""
    page.locator("#field-target label", has_text="256").first.click()
    page.click("#more button")
    steps = page.locator("#field-num_inference_steps input[type=number]").first
    steps.fill("3")
    steps.press("Tab")
    page.locator("#field-prompt textarea").fill("a lake at night")
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done'")
    page.wait_for_function("document.querySelectorAll('.ladder .get[download]').length === 1")


def test_a_dropped_photograph_is_upscaled_and_agrees_with_the_result(visit, photograph, tmp_path) -> None:
    page = visit()
    page.wait_for_selector(".start-open")
    page.wait_for_selector(".drop-veil", state="attached")
    page.locator("#field-target label", has_text="512").first.click()
    page.click("#more button")
    steps = page.locator("#field-num_inference_steps input[type=number]").first
    steps.fill("2")
    steps.press("Tab")
    page.locator("#field-prompt textarea").fill("green hills by day")
    page.evaluate(DROP, [photograph.name, base64.b64encode(photograph.read_bytes()).decode()])
    page.wait_for_selector(".start-card:visible")
    assert page.inner_text(".start-size") == "320 × 240"
    page.wait_for_selector("#field-start_strength:visible")
    # What will be the first stage is shown before anything runs.
    page.wait_for_function("document.querySelectorAll('.ladder li').length === 2")
    assert "init image" in page.inner_text(".ladder li >> nth=0")
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done'")
    page.wait_for_function("document.querySelectorAll('.ladder .get[download]').length === 2")
    href = page.locator(".ladder .get").nth(1).get_attribute("href")
    result = tmp_path / "result.png"
    result.write_bytes(page.request.get(page.evaluate("h => new URL(h, document.baseURI).href", href)).body())
    with Image.open(result) as high, Image.open(photograph) as start:
        low = high.resize((320, 240), Image.Resampling.BOX)
        error = np.mean((np.asarray(low, float) - np.asarray(start.convert("RGB"), float)) ** 2)
    assert 10 * np.log10(255**2 / error) > 20

    page.click(".start-remove")
    page.wait_for_selector(".start-card", state="hidden")
    page.click(".ladder .stage-menu >> nth=1")
    page.get_by_role("menuitem", name="Use as init image").click()
    page.wait_for_selector(".start-card:visible")
    page.wait_for_function("document.querySelector('#field-target input:checked').value === '1024'")


def as_it_enters(start: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an init image in a stage's size: cropped to its aspect and resized."""
    return cropped(start, size[1], size[0]).resize(size, Image.Resampling.LANCZOS)


def test_a_region_is_drawn_and_nothing_else_of_the_picture_changes(visit, photograph, tmp_path) -> None:
    page = visit()
    page.wait_for_selector(".start-open")
    page.set_input_files(".start-file", str(photograph))
    page.wait_for_selector(".start-region:visible")
    page.click(".start-region")
    page.wait_for_selector(".region-dialog[open]")
    page.wait_for_function("document.querySelector('.region-canvas').width === 320")
    # By pointer, by keys, taken back, and by pointer again.
    page.click("[data-tool=box]")
    canvas = page.locator(".region-canvas").bounding_box()
    page.mouse.move(canvas["x"] + canvas["width"] * 0.25, canvas["y"] + canvas["height"] * 0.25)
    page.mouse.down()
    page.mouse.move(canvas["x"] + canvas["width"] * 0.75, canvas["y"] + canvas["height"] * 0.75)
    page.mouse.up()
    page.click("[data-tool=brush]")
    page.locator(".region-canvas").press("ArrowLeft")
    page.locator(".region-canvas").press("Space")
    page.keyboard.press("Control+z")
    page.click(".region-done")
    page.wait_for_function("document.querySelector('#field-region textarea').value.startsWith('box 2')")
    numbers = page.input_value("#field-region textarea").split()[1:]
    off = [abs(int(number) - wanted) for number, wanted in zip(numbers, (250, 250, 500, 500), strict=True)]
    assert max(off) <= 4
    page.wait_for_function(
        "document.querySelector('#field-start_strength input[type=number]').value === '0.8'"
    )

    draw_small(page)
    href = page.locator(".ladder .get").first.get_attribute("href")
    result = tmp_path / "result.png"
    result.write_bytes(page.request.get(page.evaluate("h => new URL(h, document.baseURI).href", href)).body())
    with Image.open(result) as drawn, Image.open(photograph) as start:
        wanted = np.asarray(as_it_enters(start.convert("RGB"), drawn.size), int)
        apart = np.abs(np.asarray(drawn, int) - wanted).max(2)
        height, width = apart.shape
    assert apart[: height // 5].max() == 0 and apart[:, : width // 5].max() == 0
    assert apart[height // 3 : height // 2, width // 3 : width // 2].mean() > 10


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_a_picture_is_extended_and_what_it_shows_stays(visit, photograph, tmp_path, width, height) -> None:
    page = visit(width, height)
    page.wait_for_selector(".start-open")
    page.set_input_files(".start-file", str(photograph))
    page.wait_for_selector(".start-extend:visible")
    page.click(".start-extend")
    page.wait_for_selector(".extend-dialog[open]")
    page.wait_for_function("document.querySelector('.extend-image').naturalWidth === 320")
    # By keys: the first field is ready, Tab goes on, Enter takes all.
    page.keyboard.type("50")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("20")
    page.wait_for_function("document.querySelector('.extend-said').textContent.includes('480 × 288')")
    shown = page.locator(".extend-canvas").bounding_box()
    inner = page.locator(".extend-image").bounding_box()
    assert shown["width"] / shown["height"] == pytest.approx(480 / 288, rel=0.03)
    assert (inner["x"] - shown["x"]) / shown["width"] == pytest.approx(1 / 3, abs=0.02)
    assert (inner["y"] - shown["y"]) / shown["height"] == pytest.approx(1 / 6, abs=0.02)
    dialog = page.locator(".extend-dialog").bounding_box()
    assert dialog["x"] >= 0 and dialog["x"] + dialog["width"] <= width and dialog["height"] <= height
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#field-extend textarea').value === 'left 50 top 20'")
    page.wait_for_function(
        "document.querySelector('#field-start_strength input[type=number]').value === '0.95'"
    )
    if width < 1000:
        return

    draw_small(page)
    href = page.locator(".ladder .get").first.get_attribute("href")
    result = tmp_path / "result.png"
    result.write_bytes(page.request.get(page.evaluate("h => new URL(h, document.baseURI).href", href)).body())
    with Image.open(result) as drawn, Image.open(photograph) as start:
        assert drawn.size == (416, 256) and drawn.info["parameters"]
        inner = drawn.crop((128, 32, 416, 256))
        wanted = np.asarray(as_it_enters(start.convert("RGB"), inner.size), int)
        apart = np.abs(np.asarray(inner, int) - wanted).max(2)
    assert apart[16:, 16:].max() == 0


def test_a_file_that_is_no_picture_is_refused_where_it_was_asked_for(visit, tmp_path) -> None:
    page = visit()
    page.wait_for_function("window.studio?.startFrom")
    hostile = tmp_path / "<img src=x onerror=alert(1)>.png"
    hostile.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    page.set_input_files(".start-file", str(hostile))
    page.wait_for_selector(".start-error:visible")
    assert "is not an image that can be read; give a PNG or a JPEG." in page.inner_text(".start-error")
    assert page.locator(".start-open").is_visible() and page.locator(".start-error img").count() == 0
