"""A server that is killed in the middle of a run: what was finished is found again, the run goes on."""

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"


def test_a_run_that_was_cut_off_keeps_its_stages_and_is_resumed(serve, visit_at, tmp_path) -> None:
    jobs = tmp_path / "jobs"
    with serve(jobs, tmp_path / "first.log") as (address, server):
        port = int(address.rsplit(":", 1)[1].strip("/"))
        visits = visit_at(address)
        page = visits()
        page.locator("#field-prompt textarea").fill("snowy mountains by day")
        page.locator("#field-seed :is(input, textarea)").first.fill("5")
        page.locator("#field-target label", has_text="512").first.click()
        # All of the schedule, so that the second stage takes longer than ending the server.
        strength = page.locator("#field-upscale_strength input[type=number]")
        strength.fill("1")
        strength.press("Tab")
        page.click("#run")
        page.wait_for_selector(".ladder li.done .get[download]")
        assert page.evaluate(STATE) == "running"
        server.kill()
        server.wait(30)

    with serve(jobs, tmp_path / "second.log", port) as (_address, _server):
        visits.refresh(page)
        page.wait_for_function(f"{STATE} === 'interrupted'")
        assert page.locator(".ladder li.done").count() >= 1
        assert page.locator(".ladder li.done img").first.evaluate("image => image.naturalWidth") > 0
        assert page.locator("#field-prompt textarea").input_value() == "snowy mountains by day"
        page.get_by_role("button", name="Resume").click()
        page.wait_for_function(f"{STATE} === 'running'")
        page.wait_for_function(f"{STATE} === 'done'")
        assert "cached" in page.locator(".ladder li").first.inner_text()
