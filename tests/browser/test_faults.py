"""Faults that a visitor saw: a covered Run, broken words, refusals that stay, a picture handed in twice."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image, PngImagePlugin

from gspn_core.images.png import FORMAT
from ui.shared.strings import form_strings

pytestmark = pytest.mark.browser

DROP = """([name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type: "image/png" }));
  const how = { dataTransfer: carried, bubbles: true, cancelable: true };
  document.body.dispatchEvent(new DragEvent("drop", how));
}"""
READY = "window.studio?.startFrom && document.querySelector('.drop-veil')"
# How much of the bar with Run is covered by something else, over the whole page as it is scrolled.
COVERED = """async () => {
  const found = [];
  const place = document.scrollingElement;
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const most = place.scrollHeight - window.innerHeight;
  for (let step = 0; step <= 40; step += 1) {
    window.scrollTo(0, (most * step) / 40);
    await frame();
    const bar = document.querySelector("#run").getBoundingClientRect();
    for (let x = bar.left + 4; x < bar.right; x += 12) {
      for (let y = bar.top + 4; y < bar.bottom; y += 8) {
        const top = document.elementFromPoint(x, y);
        if (!top?.closest("#actions")) found.push([step, top?.outerHTML.slice(0, 90)]);
      }
    }
  }
  return found;
}"""


def png(color: str, texts: dict[str, str] | None = None) -> str:
    """Return a PNG of 320 × 240 px in base64."""
    stream, info = io.BytesIO(), PngImagePlugin.PngInfo()
    for name, text in (texts or {}).items():
        info.add_text(name, text)
    Image.new("RGB", (320, 240), color).save(stream, "PNG", pnginfo=info)
    return base64.b64encode(stream.getvalue()).decode()


def test_nothing_of_the_form_is_painted_over_run_on_a_phone(visit) -> None:
    page = visit(390, 844)
    page.wait_for_function(READY)
    assert page.evaluate(COVERED) == []
    page.evaluate("document.querySelector('#more button').click()")
    page.wait_for_selector("#field-scheduler:visible")
    assert page.evaluate(COVERED) == []


@pytest.mark.parametrize("width", [390, 1440])
def test_buttons_next_to_a_read_picture_keep_their_words_whole(visit, width) -> None:
    page = visit(width, 900)
    page.wait_for_function(READY)
    info = {"format": FORMAT, "settings": {"prompt": "a castle", "seed": 3}, "stage": 0}
    page.evaluate(DROP, ["a.png", png("teal", {"gspn_studio": json.dumps(info)})])
    page.wait_for_selector(".drop-reproduce:visible")
    broken = """() => [...document.querySelectorAll(".drop-tools button")].filter((one) => !one.hidden)
      .filter((one) => {
        const range = document.createRange();
        range.selectNodeContents(one);
        const box = one.closest(".drop-message").getBoundingClientRect();
        return range.getClientRects().length > 1 || one.getBoundingClientRect().right > box.right + 1;
      }).map((one) => one.textContent)"""
    assert page.evaluate(broken) == []


def test_a_refusal_goes_once_its_field_is_changed(visit) -> None:
    page = visit()
    page.wait_for_function(READY)
    seed = page.locator("#field-seed :is(textarea, input)").first
    for mend in (lambda: seed.fill("1"), lambda: page.click("#seed-random")):
        seed.fill("-1")
        page.click("#run")
        page.wait_for_selector(".notice.error:visible")
        mend()
        page.wait_for_selector(".notice", state="hidden")
        assert page.locator(".field.refused").count() == 0


def test_a_refused_picture_is_forgotten_once_another_is_taken(visit) -> None:
    page = visit()
    page.wait_for_function(READY)
    # Its text no longer has the sum that was written behind it.
    damaged = base64.b64decode(png("teal", {"parameters": "a castle"})).replace(b"a castle", b"a cattle")
    chosen = {"name": "damaged.png", "mimeType": "image/png", "buffer": damaged}
    page.set_input_files(".drop-file", [chosen])
    page.wait_for_selector(".drop-message.error:visible")
    page.evaluate(DROP, ["plain.png", png("teal")])
    page.wait_for_selector(".start-card:visible")
    page.wait_for_selector(".drop-message.error", state="hidden")
    assert page.inner_text(".drop-said") == form_strings.used_as_start("plain.png", "")


def test_a_picture_may_be_handed_in_twice_and_another_after_it(visit) -> None:
    page = visit()
    page.wait_for_function(READY)
    thumb = "document.querySelector('.start-thumb').getAttribute('src')"
    idle = "!document.querySelector('.start-open').disabled"
    page.evaluate(DROP, ["one.png", png("teal")])
    page.wait_for_function(f"{thumb} && {idle}")
    first = page.evaluate(thumb)
    with page.expect_response("**/gradio_api/upload*"):
        page.evaluate(DROP, ["one.png", png("teal")])
    page.wait_for_function(idle)
    with page.expect_response("**/gradio_api/upload*"):
        page.evaluate(DROP, ["other.png", png("red")])
    page.wait_for_function(f"{thumb} !== '{first}'")


def test_a_decimal_comma_is_typed_as_a_point(visit) -> None:
    page = visit()
    page.wait_for_function(READY)
    page.click("#more button")
    field = page.locator("#field-guidance_scale input[type=number]")
    field.click(click_count=3)
    page.keyboard.type("7,5")
    page.keyboard.press("Tab")
    assert field.input_value() == "7.5"
