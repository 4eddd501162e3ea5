"""What can be downloaded of a run besides its PNGs: other formats, a film of its stages, a zip."""

from __future__ import annotations

import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from gspn_core.errors import GspnError
from gspn_core.files import write_failure
from gspn_core.images.formats import fits, write_as, write_film
from gspn_core.images.png import PROXY_PX
from gspn_core.runs.run import RunView, StageView

FILM, ZIP = "film.webp", "run.zip"
_STAGE = re.compile(r"stage-([0-9]{1,3})-([0-9]{1,5})x([0-9]{1,5})\.(webp|jpeg)")
_CHUNK_BYTES = 256 * 1024


class Downloads:
    """Writes files of runs when they are first asked for; they are kept and removed with their run.

    Args:
        view: Returns a run by its id; raises GspnError if there is none.
        count: Called with a run's id when it has a file more.
    """

    def __init__(self, view: Callable[[str], RunView], count: Callable[[str], None]) -> None:
        self._view, self._count = view, count
        self._one_at_a_time = threading.Lock()

    def make(self, job_id: str, name: str) -> Path:
        """Return a file of a run, written now if it was not before; raise GspnError if there is none."""
        view = self._view(job_id)
        asked = _STAGE.fullmatch(name)
        write, path = _of_stage(view, asked, name) if asked else _film(view, name)
        with self._one_at_a_time:
            if not path.is_file():
                try:
                    write()
                except OSError as error:
                    raise GspnError(write_failure("The download", error)) from error
                except (ValueError, SyntaxError, LookupError) as error:
                    raise GspnError("A picture of this run is damaged; run its stage again.") from error
                self._count(job_id)
        return path

    def zip_of(self, job_id: str) -> Iterator[bytes]:
        """Return the bytes of a zip with a run's pictures and settings; raise GspnError if there is none."""
        view = self._view(job_id)
        pictures = [(stage, Path(stage.png_path)) for stage in _finished(view) if stage.png_path]
        if not pictures or not all(path.is_file() for _, path in pictures):
            raise GspnError("No picture of this run is written yet; try again in a moment.")
        return _zipped(view, pictures)


def has_film(view: RunView) -> bool:
    """Return whether there is a film of a run: it has ended, with two pictures or more."""
    return view.is_final and sum(bool(stage.png_path) for stage in _finished(view)) > 1


def _finished(view: RunView) -> list[StageView]:
    return [stage for stage in view.stages if stage.state == "done"]


def _of_stage(view: RunView, asked: re.Match[str], name: str) -> tuple[Callable[[], None], Path]:
    index, width, height = map(int, asked.groups()[:3])
    stage = view.stages[index] if index < len(view.stages) else None
    if stage is None or not stage.png_path or Path(stage.png_path).stem != Path(name).stem:
        raise GspnError(f"There is no picture {name} of this run; it may not be written yet.")
    if not fits(asked[4], height, width):
        raise GspnError(f"{width}×{height} px is more than a {asked[4]} of this server holds; take the PNG.")
    png = Path(stage.png_path)
    path = png.with_name(name)
    return lambda: write_as(path, png), path


def _film(view: RunView, name: str) -> tuple[Callable[[], None], Path]:
    if name != FILM or not has_film(view):
        raise GspnError("A film needs a run that has ended, with two finished pictures.")
    stages = [stage for stage in _finished(view) if stage.png_path]
    last = Path(stages[-1].png_path)
    return lambda: write_film(last.with_name(FILM), list(map(_small, stages)), last), last.with_name(FILM)


def _small(stage: StageView) -> Path:
    """Return the picture of a stage that is large enough for a film."""
    proxy = stage.proxy_path if max(stage.height, stage.width) > PROXY_PX else None
    return Path(proxy or stage.png_path)


def _zipped(view: RunView, pictures: list[tuple[StageView, Path]]) -> Iterator[bytes]:
    sink = _Sink()
    when = time.localtime(max(view.created, 315_619_200))[:6]
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:

        def put(name: str, chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
            entry = zipfile.ZipInfo(name, when)
            with archive.open(entry, "w", force_zip64=size >= 2**31) as target:
                for chunk in chunks:
                    target.write(chunk)
                    yield sink.take()

        for name, text in _texts(view, [path for _, path in pictures]).items():
            yield from put(name, iter([text.encode()]), len(text))
        for _, path in pictures:
            yield from put(path.name, _chunks(path), path.stat().st_size)
    yield sink.take()


def _texts(view: RunView, pngs: list[Path]) -> dict[str, str]:
    """Return the texts of a zip by name: the record of the run, and the settings as each PNG has them."""
    said = []
    for path in pngs:
        with Image.open(path) as image:
            said.append(f"{path.name}\n{image.text.get('parameters', '')}\n")
    stages: list[dict[str, Any]] = [
        {
            "height": stage.height,
            "width": stage.width,
            "kind": stage.kind,
            "state": stage.state,
            "steps": stage.steps,
            "seconds": stage.seconds,
            "peak_bytes": stage.peak_bytes,
            "digest": stage.digest,
        }
        for stage in view.stages
    ]
    record = {"run": view.id, "model": view.model, "settings": view.settings, "stages": stages}
    return {"settings.json": json.dumps(record, indent=1) + "\n", "parameters.txt": "\n".join(said)}


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


class _Sink(io.RawIOBase):
    """A stream that is written to and taken from, and never goes back."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def write(self, data: Any) -> int:
        """Hold some bytes."""
        self._held += data
        return len(data)

    def take(self) -> bytes:
        """Return what was written since it was last asked."""
        taken, self._held = bytes(self._held), bytearray()
        return taken
