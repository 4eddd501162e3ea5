"""Downloads: a stage in other formats, all of a run as a zip, a film of its stages."""

import io
import zipfile

import pytest
from PIL import Image

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"
LINK = "?prompt=green+hills+by+day&seed=21&target=512&num_inference_steps=4"


def offered(page) -> dict:
    page.click(".formats")
    items = page.locator("[role=menuitem]")
    return {items.nth(index).inner_text(): items.nth(index) for index in range(items.count())}


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_a_picture_and_its_run_are_saved_in_other_formats(visit_painted, tmp_path, width, height) -> None:
    page = visit_painted(width, height, path=LINK)
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'green hills by day'")
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done' && studio.run?.job")
    page.wait_for_selector(".formats:not([hidden])")
    labels = list(offered(page))
    assert labels == ["WebP", "JPEG", "All stages and settings (zip)", "Film of the stages (WebP)"]
    page.keyboard.press("Escape")
    box = page.locator(".tools").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    saved = {}
    for label in labels:
        with page.expect_download() as download:
            offered(page)[label].click()
        saved[label] = (download.value.suggested_filename, download.value.path().read_bytes())
    for label, kind in (("WebP", "WEBP"), ("JPEG", "JPEG")):
        name, data = saved[label]
        assert name == f"gspn-512x512-seed-21.{kind.lower()}"
        image = Image.open(io.BytesIO(data))
        assert (image.format, image.size) == (kind, (512, 512))
        assert b"green" in image.getexif().get_ifd(0x8769)[0x9286].replace(b"\0", b"")
        taken = tmp_path / name
        taken.write_bytes(data)
        page.locator("#field-prompt textarea").fill("something else")
        page.set_input_files(".drop-file", str(taken))
        page.wait_for_function(
            "document.querySelector('#field-prompt textarea').value === 'green hills by day'"
        )
        assert page.locator(".drop-said").inner_text() == f"From {name}, stage 2"
        assert "only a PNG" in page.locator(".drop-check").inner_text()
    name, data = saved[labels[2]]
    assert name.endswith(".zip")
    assert "stage-1-512x512.png" in zipfile.ZipFile(io.BytesIO(data)).namelist()
    name, data = saved[labels[3]]
    assert name == "gspn-run-seed-21.webp" and Image.open(io.BytesIO(data)).n_frames == 2


def test_a_download_of_a_removed_run_says_so(visit_painted) -> None:
    page = visit_painted(path=LINK.replace("21", "22"))
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'green hills by day'")
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done' && studio.run?.job")
    page.wait_for_selector(".formats:not([hidden])")
    page.route("**/*.webp", lambda route: route.fulfill(status=404, body="There is no run here."))
    offered(page)["WebP"].click()
    page.wait_for_function("document.querySelector('.saving').textContent === 'There is no run here.'")
    # That the browser met a 404 is what this test is about.
    visit_painted.errors[:] = [error for error in visit_painted.errors if "404" not in error]
