"""Take the README's pictures of the page, after one run: `python -m tests.browser.readme_pictures`."""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import CHROMIUM, ROOT, TIMEOUT_MS, serving

FOLDER = ROOT / "assets" / "readme"
PROMPT = "steep cliffs with a beach on a bright day, a clear sky and the sun in the sky"
SEED = 7
VIEWS = {
    "page-dark.png": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "page-phone.png": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "color_scheme": "light",
        "is_mobile": True,
        "has_touch": True,
    },
}
# The picture is faded in and sharpened by its tiles.
SETTLE_MS = 3000


def take(browser: Browser, address: str, folder: Path) -> None:
    """Run the prompt once, open the run in each of the views and write what they show."""
    run = _run(browser, address)
    for name, view in VIEWS.items():
        page = browser.new_context(**view).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(address + run)
        page.wait_for_selector(".deep:not(.covered)")
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=folder / name)
        page.context.close()


def _run(browser: Browser, address: str) -> str:
    """Return what the address of a finished run ends with."""
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(address)
    page.wait_for_selector("#run")
    page.locator("#field-prompt textarea").fill(PROMPT)
    page.locator("#field-seed :is(input, textarea)").first.fill(str(SEED))
    page.click("#run")
    page.wait_for_selector("#studio[data-state=done]")
    return page.evaluate("location.search")


def main() -> None:
    """Serve the page on a free port, with a folder of runs of its own, and take the pictures."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        with serving(Path(scratch) / "jobs", Path(scratch) / "app.log", script="app.py") as (address, _):
            take(browser, address, FOLDER)
        browser.close()


if __name__ == "__main__":
    main()
