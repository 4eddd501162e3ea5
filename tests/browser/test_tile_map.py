"""The tiles that the next run would redraw are marked on the stage that it would enlarge."""

import pytest

from gspn_core.images.png import write_proxy
from gspn_core.images.tiles import write_tiles
from gspn_core.runs.store import Store
from tests.browser.deep_zoom import put_run

pytestmark = pytest.mark.browser


@pytest.fixture
def run(painted_folder, painted_address) -> str:
    """Put a finished run of 256 and 1024 px into the app's folder and return its id."""
    assert painted_address
    writers = {"jpg": write_proxy, "tiles": write_tiles, "png": lambda path, image: image.save(path)}
    return put_run(Store(painted_folder), "a-run-of-which-tiles-are-marked", (256, 1024), writers)


def wait_for_tiles(page, count: int) -> None:
    page.wait_for_function(
        """(count) => {
          const path = document.querySelector(".tile-map path")?.getAttribute("d") || "";
          return path.split("M").length - 1 === count;
        }""",
        arg=count,
    )


def test_the_tiles_follow_the_slider_on_the_stage_that_is_enlarged_and_on_no_other(visit_painted, run):
    page = visit_painted(path=f"?job={run}")
    page.wait_for_selector(".deep:not(.covered)")
    page.locator("#more button").first.click()
    page.locator("#field-ladder").locator("input, textarea").first.fill("256 tiles:1024")
    page.locator(".card").first.click()
    wait_for_tiles(page, 8)
    page.locator("#field-tile_share input[type=number]").fill("0.25")
    wait_for_tiles(page, 4)
    page.locator(".card").nth(1).click()
    page.wait_for_selector(".tile-map", state="detached")
    page.locator(".card").first.click()
    wait_for_tiles(page, 4)
    page.locator("#field-ladder").locator("input, textarea").first.fill("256 1024")
    page.wait_for_selector(".tile-map", state="detached")
