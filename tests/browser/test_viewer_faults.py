"""Deep zoom where tiles, a proxy or the connection are missing, in a real Chromium."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gspn_core.images.png import write_proxy
from gspn_core.runs.store import Store
from tests.browser.contexts import Contexts
from tests.browser.deep_zoom import VIEWER, choose, put_run, settled, tiles_of, watch_tiles

pytestmark = pytest.mark.browser

# A tile that the connection lost has been asked for again by then.
AGAIN_MS = 3000


@pytest.fixture
def contexts(chromium, address) -> Iterator[Contexts]:
    """Return contexts that no other test has filled: what is lost here must be asked for."""
    contexts = Contexts(chromium, address.rstrip("/"))
    yield contexts
    contexts.close()


@pytest.fixture(scope="module")
def older(address, jobs_folder) -> str:
    """Put a run from before there were tiles into the app's folder and return its id."""
    assert address
    writers = {"jpg": write_proxy, "png": lambda path, image: image.save(path, compress_level=1)}
    return put_run(Store(jobs_folder), "deep-zoom-of-an-older-run", (2048,), writers)


def test_without_its_tiles_a_stage_is_shown_by_its_proxy(deep, visit, stored, jobs_folder, tmp_path) -> None:
    page = deep()
    choose(page, 1)
    page.keyboard.press("z")
    settled(page)
    tiles = next((jobs_folder / stored).glob("*8192.tiles"))
    away = Path(shutil.move(tiles, tmp_path / "away"))
    try:
        requests = watch_tiles(page)
        page.keyboard.press("2")
        page.wait_for_function(
            f"""() => {{
              const {{ deep, world }} = {VIEWER};
              const only = world.getItemCount() === 1 && world.getItemAt(0).source.getTileUrl(0, 0, 0);
              return deep.stage().width === 8192 && deep.seen() && only === deep.stage().proxy;
            }}"""
        )
        settled(page)
        asked = tiles_of(requests)
        assert len(asked) == len(set(asked))
        requests.clear()
        page.keyboard.press("+")
        settled(page)
        page.wait_for_timeout(AGAIN_MS)
        assert tiles_of(requests) == []
    finally:
        shutil.move(away, tiles)
    # The browser itself tells of addresses that are not there; nothing else may be reported.
    assert visit.errors
    assert [error for error in visit.errors if "the server responded with a status of 40" not in error] == []
    visit.errors.clear()


def test_a_tile_that_the_connection_lost_is_asked_for_once_more(deep, visit) -> None:
    # Without motion no tile is asked for that only lies on the way.
    page = deep(reduced_motion="reduce")
    lost: list[str] = []

    def lose_once(route) -> None:
        if route.request.method == "GET" and route.request.url not in lost:
            lost.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/*8192.tiles/4/**", lose_once)
    requests = watch_tiles(page)
    page.keyboard.press("z")
    settled(page)
    assert lost
    sharp = f"{VIEWER}.world.getItemAt(1).getTilesToDraw().filter((drawn) => drawn.level === 4).length"
    page.wait_for_function(f"{sharp} >= {len(lost)}")
    assert {url: requests.count(url) for url in lost} == dict.fromkeys(lost, 2)
    assert [error for error in visit.errors if "net::ERR_CONNECTION_RESET" not in error] == []
    visit.errors.clear()


def test_a_proxy_that_the_connection_lost_is_asked_for_once_more(visit, older) -> None:
    lost: list[str] = []

    def lose_once(route) -> None:
        if not lost:
            lost.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.continue_()

    page = visit(path=f"?job={older}", before=lambda page: page.route("**/stage-0-2048x2048.jpg*", lose_once))
    page.wait_for_function(f"{VIEWER}?.world.getItemAt(0)?.getTilesToDraw().length === 1")
    assert lost
    assert [error for error in visit.errors if "net::ERR_CONNECTION_RESET" not in error] == []
    visit.errors.clear()


def test_a_run_from_before_there_were_tiles_is_sharpened_by_its_png(visit, older) -> None:
    page = visit(path=f"?job={older}")
    page.wait_for_selector(".deep:not(.covered)")
    settled(page)
    requests = watch_tiles(page)
    page.keyboard.press("z")
    page.wait_for_function(f"{VIEWER}.world.getItemCount() === 2")
    settled(page)
    assert page.inner_text(".percent") == "100 %"
    files = [url.split("/")[-1] for url in requests if "/gradio_api/file=" in url]
    assert files == ["stage-0-2048x2048.png"]
