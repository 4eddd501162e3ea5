"""Stored runs with large pictures, and what the tests of deep zoom ask of a page."""

import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from gspn_core.planning.types import Size
from gspn_core.runs.run import RunView, StageView
from gspn_core.runs.store import Store
from gspn_core.settings import Settings

SIZES = (1024, 8192)
VIEWER = "OpenSeadragon.getViewer(document.querySelector('.deep'))"
DEEP = f"{VIEWER}.deep"


def painted(px: int) -> Image.Image:
    """Return a picture whose every 64 px have a colour of their own, with fine stripes in the middle."""
    side = px // 64
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(40, 215, (side, side, 3), dtype=np.uint8))
    image = coarse.resize((px, px), Image.Resampling.NEAREST)
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::4] = 255
    image.paste(Image.fromarray(stripes), (px // 2, px // 2))
    return image


def put_run(store: Store, job_id: str, sizes: tuple[int, ...], writers: dict[str, Callable]) -> str:
    """Write a finished run whose stages have the files that the writers write."""
    store.open_job(job_id)
    stages = []
    for index, px in enumerate(sizes):
        image, paths = painted(px), {}
        for ending, write in writers.items():
            path = store.stage_file(job_id, index, Size(height=px, width=px), ending)
            write(path, image)
            paths["proxy_path" if ending == "jpg" else f"{ending}_path"] = str(path)
        done = {"state": "done", "step": 2, "steps": 2, "seconds": 1.0}
        stages.append(StageView(index=index, height=px, width=px, **done, **paths))
    settings = Settings(prompt="stripes", seed=1).to_dict()
    created = time.time()
    view = RunView(id=job_id, created=created, state="done", settings=settings, stages=tuple(stages))
    store.write_job(view)
    return job_id


def settled(page) -> None:
    """Wait until nothing moves and everything that is in view is loaded."""
    page.wait_for_function(
        f"""() => {{
          const viewer = {VIEWER};
          const items = [...Array(viewer.world.getItemCount()).keys()].map((i) => viewer.world.getItemAt(i));
          const still = JSON.stringify([viewer.deep.place(), viewer.deep.devicePx()]);
          const before = window.stillBefore;
          window.stillBefore = still;
          return viewer.deep.seen() && still === before && items.every((item) => item.getFullyLoaded());
        }}""",
        polling=120,
    )


def choose(page, number: int) -> None:
    page.keyboard.press(str(number))
    page.wait_for_function(f"{DEEP}.stage().width === {SIZES[number - 1]} && {DEEP}.seen()")
    settled(page)


def tiles_of(requests: list[str]) -> list[tuple[int, int, int]]:
    """Return (level, column, row) of each tile that was asked for."""
    paths = [url.split("?")[0].split("/") for url in requests if "8192.tiles/" in url]
    return [(int(path[-2]), *map(int, path[-1].removesuffix(".jpg").split("_"))) for path in paths]


def watch_tiles(page) -> list[str]:
    """Return the list that every address which is fetched from now on is put into."""
    requests: list[str] = []
    page.on("request", lambda request: request.method == "GET" and requests.append(request.url))
    return requests
