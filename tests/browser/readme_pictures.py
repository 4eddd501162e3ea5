"""Take the README's pictures of the page as it opens: `python -m tests.browser.readme_pictures`."""

import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import CHROMIUM, ROOT, TIMEOUT_MS, serving

FOLDER = ROOT / "assets" / "readme"
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
# By the name of the picture: the browser's settings, and the place of the page that is shown.
VIEWS: dict[str, tuple[dict[str, Any], str]] = {
    "page-dark.png": ({**DESK, "color_scheme": "dark"}, "studio"),
    "page-lab.png": ({**DESK, "color_scheme": "light"}, "lab"),
    "page-phone.png": ({**PHONE, "color_scheme": "light"}, "studio"),
}
# The model is there, and what a run would take stands next to Run.
READY = """!document.querySelector('.status').textContent && document.querySelector('.ahead:not([hidden])')"""
# The picture is faded in and sharpened by its tiles.
SETTLE_MS = 3000


def take(browser: Browser, address: str, folder: Path) -> None:
    """Open the page in each of the views and write what they show."""
    for name, (view, place) in VIEWS.items():
        page = browser.new_context(**view).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(address)
        _show(page, place)
        page.screenshot(path=folder / name)
        page.context.close()


def _show(page: Page, place: str) -> None:
    page.wait_for_selector(".deep:not(.covered)")
    page.wait_for_function(READY)
    if place != "studio":
        page.click(f".places button[data-place={place}]")
    page.wait_for_timeout(SETTLE_MS)


def main() -> None:
    """Serve the page on a free port, with a folder of runs of its own, and take the pictures."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        folder = Path(scratch)
        served = serving(folder / "jobs", folder / "app.log", script="app.py", arguments=("--no-measuring",))
        with served as (address, _):
            take(browser, address, FOLDER)
        browser.close()


if __name__ == "__main__":
    main()
