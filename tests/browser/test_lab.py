"""A study of nine cells in a real Chromium: stopped, found again, resumed, compared and exported."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser
FILE = {"name": "study.json", "mimeType": "application/json"}


def field(page, name: str):
    return page.locator(f"#field-{name} :is(textarea, input[type=number], input[type=text])").first


def wait_for(page, text: str) -> None:
    page.wait_for_function("text => document.querySelector('.lab-name').textContent.includes(text)", arg=text)


def test_a_study_is_stopped_resumed_compared_and_exported(visit, tmp_path) -> None:
    page = visit()
    begin_study(page)
    page.wait_for_selector(".lab-grid td.done")
    page.click(".lab-stop")
    wait_for(page, "Stopped")

    visit.reload(page)
    wait_for(page, "Stopped")
    page.click(".lab-resume")
    wait_for(page, "9 of 9 cells")
    assert page.locator(".lab-grid td.done img:not([hidden])").count() == 9
    assert page.locator(".lab-past li").count() == 1
    page.locator(".lab-pick select").select_option("adherence")
    page.wait_for_function(
        "[...document.querySelectorAll('.lab-figure')]"
        ".filter(cell => /^(0|33|67|100) %$/.test(cell.innerText)).length === 9"
    )

    check_export(page, tmp_path)
    check_sheet(page, tmp_path)
    check_keys(page)
    for number in (0, 4):
        page.locator(".lab-cell").nth(number).click()
    page.click(".lab-compare")
    page.wait_for_function("document.querySelectorAll('.cmp-items li').length === 2")
    assert "CFG scale" in page.locator(".cmp-table").inner_text()
    check_history(page)


def begin_study(page) -> None:
    """Start a study of nine cells of one short stage."""
    field(page, "prompt").fill("green hills by day")
    page.locator("#field-target label", has_text="256").first.click()
    page.click("#more button")
    page.wait_for_selector("#field-num_inference_steps")
    field(page, "num_inference_steps").fill("12")
    field(page, "num_inference_steps").press("Tab")

    page.locator(".masthead .places button", has_text="Lab").click()
    page.locator(".lab-axis-name").first.select_option("guidance_scale")
    page.locator(".lab-axis-text").first.fill("2, 4, 6")
    page.click(".lab-more")
    page.locator(".lab-axis-text").nth(1).fill("3 from 31")
    page.wait_for_function("document.querySelector('.lab-cost').textContent.includes('9 cells: 9 stages')")
    page.click(".lab-begin")


def check_history(page) -> None:
    """Find the nine runs under the line of their grid, which leads back to it."""
    page.locator(".masthead .places button", has_text="History").click()
    page.wait_for_selector(".run-grid")
    assert page.locator(".run-grid").count() == 1
    assert page.inner_text(".run-grid b") == page.locator(".lab-name b").text_content()
    assert page.locator(".history-grid li.of-grid").count() == 9
    page.click(".run-grid button")
    page.wait_for_selector(".lab-grid:visible")


def check_sheet(page, folder) -> None:
    """Download the study's contact sheet: nine pictures in their places, with their labels."""
    with page.expect_download() as download:
        page.click(".lab-sheet")
    assert download.value.suggested_filename.startswith("gspn-grid-")
    download.value.save_as(folder / "sheet.png")
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        pixels = np.asarray(sheet.convert("L"), float)
    # The edge, the row labels, then three columns of at most 320 px with 8 px between them.
    wide = (pixels.shape[1] - 2 * 24 - 178 + 8) // 3 - 8
    columns = [slice(202 + at * (wide + 8), 202 + at * (wide + 8) + wide) for at in range(3)]
    for column in columns:
        rows = np.flatnonzero((pixels[:, column] < 250).mean(1) > 0.9)
        assert len(np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)) == 3
    labels = pixels[60:110]
    assert all((labels[:, column] < 100).sum() > 10 for column in columns)
    assert (pixels[:, 24:194] < 100).sum() > 100


def check_export(page, folder) -> None:
    """Download the study's export and check its table against its pictures."""
    with page.expect_download() as download:
        page.click(".lab-export")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("cells.csv").decode())))
        assert [row["state"] for row in rows] == ["done"] * 9
        assert {row["guidance_scale"] for row in rows} == {"2.0", "4.0", "6.0"}
        assert {round(3 * float(row["adherence"])) for row in rows} <= {0, 1, 2, 3}
        assert all(row["picture"] in archive.namelist() for row in rows)
        assert "index.html" in archive.namelist()


def check_keys(page) -> None:
    """Check that Tab stops once for all cells and that arrow keys move between them, also when enlarged."""
    assert page.locator(".lab-cell[tabindex='0']").count() == 1
    page.locator(".lab-cell[tabindex='0']").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_selector(".lab-large[open] canvas")
    first = page.locator(".lab-large-name").inner_text()
    page.keyboard.press("ArrowDown")
    page.wait_for_function(
        "first => document.querySelector('.lab-large-name').textContent !== first", arg=first
    )
    page.keyboard.press("Escape")
    page.wait_for_selector(".lab-large", state="hidden")
    assert page.evaluate("document.activeElement.matches('.lab-grid tr:nth-child(2) td .lab-cell')")
    assert page.locator(".lab-cell[aria-pressed=true]").count() == 0


def test_settings_are_chosen_by_key_and_a_study_that_is_not_there_is_said(visit) -> None:
    page = visit(path="?place=lab&study=../../etc/passwd")
    page.wait_for_selector(".lab-said:not([hidden])")
    assert "There is no grid" in page.locator(".lab-said").inner_text()
    page.wait_for_function("!location.search.includes('study')")

    page.locator(".lab-axis-text").fill("0.2, 0.6")
    setting = page.locator(".lab-axis-name")
    setting.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.className") == "lab-axis-name"
    assert setting.input_value() != "upscale_strength"
    setting.select_option("upscale_strength")
    assert page.locator(".lab-axis-text").input_value() == "0.2, 0.6"
    page.locator(".lab-axis-text").fill("0.2, lots")
    page.wait_for_function("document.querySelector('.lab-axis-count').textContent.includes('not a number')")
    assert page.locator(".lab-begin").is_disabled()


def test_a_grid_to_begin_with_fills_the_axes(visit) -> None:
    page = visit()
    page.locator(".masthead .places button", has_text="Lab").click()
    page.locator(".lab-preset", has_text="Upscale denoise").click()
    page.wait_for_function("document.querySelector('.lab-cost').textContent.startsWith('9 cells')")
    texts = [page.locator(".lab-axis-text").nth(at).input_value() for at in range(2)]
    assert texts == ["0.2-0.8 [3]", "3 from 1"]
    page.locator(".lab-preset", has_text="CFG scale").click()
    page.wait_for_function("document.querySelector('.lab-cost').textContent.startsWith('5 cells')")
    assert page.locator(".lab-axis").count() == 1
    # A comma that can mean two things is asked about.
    page.locator(".lab-axis-text").fill("7,5")
    page.wait_for_function("document.querySelector('.lab-axis-count').textContent.includes('7, 5 or 7.5')")
    assert page.is_disabled(".lab-begin")


def test_a_grid_file_fills_the_form_and_the_axes(visit, tmp_path) -> None:
    grid = {
        "base": {"prompt": "green hills by day", "target": 512, "seed": 7},
        "axes": [
            {"name": "gaussian_sigma", "values": [0.1, 1], "stage_px": 512},
            {"name": "guidance_scale", "values": [2, 3.5, 5]},
        ],
    }
    (tmp_path / "study.json").write_text(json.dumps(grid))
    (tmp_path / "other.json").write_text("[1, 2")
    page = visit()
    page.locator(".masthead .places button", has_text="Lab").click()
    page.set_input_files(".lab-file", tmp_path / "other.json")
    page.wait_for_selector(".lab-said:not([hidden])")
    assert "not a grid" in page.inner_text(".lab-said")
    page.set_input_files(".lab-file", tmp_path / "study.json")
    page.wait_for_function("document.querySelector('.lab-cost').textContent.startsWith('6 cells')")
    texts = [page.locator(".lab-axis-text").nth(at).input_value() for at in range(2)]
    assert texts == ["2, 3.5, 5", "0.1, 1"]
    assert [page.locator(".lab-axis-stage").nth(at).input_value() for at in range(2)] == ["", "512"]
    assert page.locator(".lab-said").is_hidden()
    assert page.locator(".lab-base").inner_text().count("green hills by day") == 1
    page.set_input_files(".lab-file", files=[{**FILE, "buffer": b'{"base": {}, "axes": [{"name": "x"}]}'}])
    page.wait_for_selector(".lab-said:not([hidden])")
    assert "an axis has a name" in page.inner_text(".lab-said")
