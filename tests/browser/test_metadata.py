"""A picture that is dropped back brings its settings, and its run again gives its bytes."""

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio').dataset.state"


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
