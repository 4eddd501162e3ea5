"""What can be downloaded of a run besides the PNG of a stage; the server writes each when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gspn_core.images.formats import fits
from gspn_core.runs.downloads import FILM, ZIP, has_film
from gspn_core.runs.run import RunView, StageView
from ui.guard.files import file_url
from ui.shared.strings import studio_strings


def save_props(view: RunView) -> dict[str, Any]:
    """Return the downloads of each stage and of the whole run, ready for JSON.

    A download is {"label", "url", "file"}; "streamed" ones are saved as they come.
    """
    return {"stages": [_of_stage(view, stage) for stage in view.stages], "run": _of_run(view)}


def _of_stage(view: RunView, stage: StageView) -> list[dict[str, Any]]:
    if stage.state != "done" or not stage.png_path:
        return []
    name = studio_strings.file_name(stage.height, stage.width, view.settings.get("seed"))
    return [
        {
            "label": label,
            "url": file_url(str(Path(stage.png_path).with_suffix(f".{ending}"))),
            "file": str(Path(name).with_suffix(f".{ending}")),
            "streamed": False,
        }
        for ending, label in studio_strings.FORMATS.items()
        if fits(ending, stage.height, stage.width)
    ]


def _of_run(view: RunView) -> list[dict[str, Any]]:
    written = [Path(stage.png_path) for stage in view.stages if stage.state == "done" and stage.png_path]
    if not view.is_final or not written:
        return []
    seed = view.settings.get("seed")
    found = [(studio_strings.ZIP, ZIP, studio_strings.run_file_name(seed, "zip"), True)]
    if has_film(view):
        found.append((studio_strings.FILM, FILM, studio_strings.run_file_name(seed, "webp"), False))
    return [
        {
            "label": label,
            "url": file_url(str(written[-1].with_name(name))),
            "file": file,
            "streamed": streamed,
        }
        for label, name, file, streamed in found
    ]
