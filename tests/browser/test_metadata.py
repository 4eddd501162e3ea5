"""A picture that is dropped back brings its settings, and its run again gives its bytes."""

import base64
import io
import random
import zlib

import pytest
from PIL import ExifTags, Image, PngImagePlugin

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio').dataset.state"
DROP = """([name, type, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type }));
  const how = { dataTransfer: carried, bubbles: true, cancelable: true };
  document.body.dispatchEvent(new DragEvent("drop", how));
}"""
READY = "window.studio?.startFrom && document.querySelector('.drop-veil')"
SETTINGS = (
    "a dune at noon\nNegative prompt: fog\nSteps: 9, Sampler: Euler, CFG scale: 3, Seed: 77, Size: 96x64"
)


def field(page, name: str):
    return page.locator(f"#field-{name} :is(textarea, input[type=number], input[type=text])").first


def test_a_picture_that_is_chosen_again_fills_the_form_and_reproduces_its_bytes(visit, tmp_path) -> None:
    page = visit()
    field(page, "prompt").fill("red hills over a desert at dawn")
    page.locator("#field-target label", has_text="256").first.click()
    field(page, "seed").fill("21")
    page.click("#more button")
    page.wait_for_selector("#field-num_inference_steps")
    field(page, "num_inference_steps").fill("2")
    field(page, "num_inference_steps").press("Tab")
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done'")
    page.wait_for_selector(".ladder .get[download]")
    href = page.locator(".ladder .get").first.get_attribute("href")
    picture = tmp_path / "picture.png"
    picture.write_bytes(
        page.request.get(page.evaluate("h => new URL(h, document.baseURI).href", href)).body()
    )

    other = visit()
    field(other, "prompt").fill("something of my own")
    other.set_input_files(".drop-file", str(picture))
    other.wait_for_function(
        "document.querySelector('#field-seed input, #field-seed textarea').value === '21'"
    )
    assert field(other, "prompt").input_value() == "red hills over a desert at dawn"
    other.click(".drop-reproduce")
    other.wait_for_function("document.querySelector('.drop-check').textContent.includes('dentical')")
    other.click(".drop-undo")
    other.wait_for_function(
        "document.querySelector('#field-prompt textarea').value === 'something of my own'"
    )


def test_a_file_that_is_no_picture_is_refused_and_the_form_stays(visit, tmp_path) -> None:
    page = visit()
    page.wait_for_function(READY)
    field(page, "prompt").fill("mine")
    hostile = tmp_path / "<img src=x onerror=alert(1)>.png"
    hostile.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    page.set_input_files(".drop-file", str(hostile))
    page.wait_for_selector(".drop-message.error")
    assert "is damaged" in page.locator(".drop-message").inner_text()
    assert field(page, "prompt").input_value() == "mine"
    # Closed and refused once more, the same words must be seen once more.
    page.click(".drop-close")
    page.wait_for_selector(".drop-message", state="hidden")
    page.set_input_files(".drop-file", str(hostile))
    page.wait_for_selector(".drop-message.error")


def test_a_file_of_millions_of_chunks_is_given_up_soon(visit, tmp_path) -> None:
    page = visit()
    endless = tmp_path / "endless.png"
    endless.write_bytes(b"\x89PNG\r\n\x1a\n" + (b"\0\0\0\0aaaa" + b"\0" * 4) * 1_000_000)
    page.wait_for_selector(".drop-veil", state="attached")
    page.set_input_files(".drop-file", str(endless))
    page.wait_for_selector(".drop-message.error", timeout=60_000)
    assert "is damaged" in page.locator(".drop-message").inner_text()


def encoded(kind: str, **options) -> str:
    stream = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(stream, kind, **options)
    return base64.b64encode(stream.getvalue()).decode()


def with_comment(kind: str) -> str:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A. Painter"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + SETTINGS.encode("utf-16-be")
    return encoded(kind, exif=exif)


def after_the_pixels() -> str:
    info = PngImagePlugin.PngInfo()
    info.add(b"tEXt", b"parameters\0" + SETTINGS.encode(), after_idat=True)
    info.add(b"zTXt", b"workflow\0\0" + zlib.compress(random.Random(1).randbytes(1_500_000)))
    return encoded("PNG", pnginfo=info)


def test_a_dropped_picture_of_another_tool_fills_the_form_whatever_its_format(visit) -> None:
    page = visit()
    page.wait_for_function(READY)
    files = [("a.jpg", "image/jpeg", with_comment("JPEG")), ("a.webp", "image/webp", with_comment("WEBP"))]
    files += [("a.avif", "image/avif", with_comment("AVIF")), ("a.png", "image/png", after_the_pixels())]
    for file in files:
        field(page, "prompt").fill("mine")
        page.evaluate(DROP, list(file))
        page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'a dune at noon'")
        page.wait_for_function(
            "name => document.querySelector('.drop-said').textContent.includes(name)", arg=file[0]
        )
        assert field(page, "seed").input_value() == "77"
        assert "another tool" in page.inner_text(".drop-notes")


def test_a_picture_whose_text_is_not_read_is_named_and_started_from(visit) -> None:
    page = visit()
    page.wait_for_function(READY)
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", '{"3": {"class_type": "KSampler", "inputs": {"seed": 5}}}')
    for _ in range(2):
        page.evaluate(DROP, ["comfy.png", "image/png", encoded("PNG", pnginfo=info)])
        page.wait_for_selector(".start-card:visible")
        page.wait_for_function("document.querySelector('.drop-said').textContent.includes('ComfyUI')")
        page.click(".start-remove")
        page.wait_for_selector(".start-card", state="hidden")
    page.evaluate(DROP, ["photo.jpg", "image/jpeg", encoded("JPEG")])
    page.wait_for_selector(".start-card:visible")
    page.wait_for_function("document.querySelector('.drop-said').textContent.includes('No settings')")
