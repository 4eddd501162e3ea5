"""A study of nine cells in a real Chromium: stopped, found again, resumed, compared and exported."""

import csv
import io
import zipfile

import pytest

pytestmark = pytest.mark.browser


def field(page, name: str):
    return page.locator(f"#field-{name} :is(textarea, input[type=number], input[type=text])").first


def wait_for(page, text: str) -> None:
    page.wait_for_function("text => document.querySelector('.lab-name').textContent.includes(text)", arg=text)


def test_a_study_is_stopped_resumed_compared_and_exported(visit, tmp_path) -> None:
    page = visit()
    field(page, "prompt").fill("green hills by day")
    page.locator("#field-target label", has_text="256").first.click()
    page.click("#more button")
    page.wait_for_selector("#field-num_inference_steps")
    field(page, "num_inference_steps").fill("2")
    field(page, "num_inference_steps").press("Tab")

    page.locator(".masthead .places button", has_text="Lab").click()
    page.locator(".lab-axis-name").first.select_option("guidance_scale")
    page.locator(".lab-axis-text").first.fill("2, 4, 6")
    page.click(".lab-more")
    page.locator(".lab-axis-text").nth(1).fill("3 from 31")
    page.wait_for_function("document.querySelector('.lab-cost').textContent.includes('9 cells: 9 stages')")
    page.click(".lab-begin")
    page.wait_for_selector(".lab-grid td.done")
    page.click(".lab-stop")
    wait_for(page, "Stopped")

    visit.reload(page)
    wait_for(page, "Stopped")
    page.click(".lab-resume")
    wait_for(page, "9 of 9 cells")
    assert page.locator(".lab-grid td.done img:not([hidden])").count() == 9
    assert page.locator(".lab-past li").count() == 1

    with page.expect_download() as download:
        page.click(".lab-export")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("cells.csv").decode())))
        assert [row["state"] for row in rows] == ["done"] * 9
        assert {row["guidance_scale"] for row in rows} == {"2.0", "4.0", "6.0"}
        assert all(row["picture"] in archive.namelist() for row in rows)
        assert "index.html" in archive.namelist()

    for number in (0, 4):
        page.locator(".lab-cell").nth(number).click()
    page.click(".lab-compare")
    page.wait_for_function("document.querySelectorAll('.cmp-items li').length === 2")
    assert "Guidance" in page.locator(".cmp-table").inner_text()
