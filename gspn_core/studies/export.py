"""A study as a self-contained archive: a page, the figures as CSV and JSON, and the pictures."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from gspn_core.files import replacing
from gspn_core.runs.run import RunView
from gspn_core.studies.study import Cell, StudyView

# Characters that begin a formula, full-width ones too, at the start or after a cell separator.
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[\s\u00a0]{0,64}[=+\-@\uff0b\uff0d\uff1d\uff20])")
_PART_BYTES = 2**20
# An archive's dates go from 1980 to 2107.
_LEAST_MOMENT, _MOST_MOMENT = 315_532_800.0, 4_354_819_199.0
FIGURES = (
    "seconds",
    "saved_seconds",
    "processor_seconds",
    "peak_bytes",
    "consistency",
    "detail",
    "adherence",
)


@dataclass(frozen=True, kw_only=True)
class Export:
    """The files of a study: texts by name, and where the picture of each name is."""

    texts: Mapping[str, str]
    pictures: Mapping[str, Path]


def export_of(study: StudyView, job_of: Callable[[str], RunView | None]) -> Export:
    """Return what is exported of a study. job_of: returns a run by id, None if it is gone."""
    found = {number: path for number, cell in enumerate(study.cells) if (path := _picture(cell, job_of))}
    names = {number: f"images/cell-{number + 1:02d}{path.suffix}" for number, path in found.items()}
    texts = {
        "index.html": page(study, names),
        "study.json": json.dumps(study.to_dict(), indent=1),
        "cells.csv": table(study, names),
    }
    return Export(texts=texts, pictures={names[number]: path for number, path in found.items()})


def write_export(path: Path, study: StudyView, job_of: Callable[[str], RunView | None]) -> None:
    """Write a study's archive, the same bytes for the same study; raise OSError on failure."""
    export = export_of(study, job_of)
    with replacing(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in export.texts.items():
            archive.writestr(_entry(name, study.created), text)
        for name, picture in export.pictures.items():
            # PNGs are compressed already, and large ones are copied in parts.
            entry = _entry(name, study.created, zipfile.ZIP_STORED)
            entry.file_size = picture.stat().st_size
            with picture.open("rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target, _PART_BYTES)


def write_folder(folder: Path, study: StudyView, job_of: Callable[[str], RunView | None]) -> None:
    """Write what the archive holds into a folder; raise OSError on failure.

    A picture that is there with the size and time of its run's file is not written again.
    """
    export = export_of(study, job_of)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, picture in export.pictures.items():
        _copy(picture, folder / name)
    for name, text in export.texts.items():
        with replacing(folder / name) as stream:
            stream.write(text.encode())


def _copy(source: Path, target: Path) -> None:
    stat = source.stat()
    if target.is_file():
        there = target.stat()
        if (there.st_size, there.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return
    with replacing(target) as stream, source.open("rb") as content:
        shutil.copyfileobj(content, stream, _PART_BYTES)
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _entry(name: str, created: float, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    """Return an archive's entry with the study's own time, as far as the format has it."""
    moment = time.gmtime(min(max(created, _LEAST_MOMENT), _MOST_MOMENT))
    entry = zipfile.ZipInfo(name, moment[:6])
    entry.compress_type = method
    entry.external_attr = 0o644 << 16
    return entry


def table(study: StudyView, names: dict[int, str]) -> str:
    """Return the cells as CSV: state, picture, every setting and every figure."""
    settings = list(study.cells[0].settings) if study.cells else []
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["cell", "state", "picture", *settings, *FIGURES])
    for number, cell in enumerate(study.cells):
        values = [_safe(cell.settings.get(name)) for name in settings]
        figures = [getattr(cell, name) for name in FIGURES]
        writer.writerow([number + 1, cell.state, names.get(number, ""), *values, *figures])
    return text.getvalue()


def page(study: StudyView, names: dict[int, str]) -> str:
    """Return the page: a grid of cells with their figures; a click enlarges one."""
    axes = list(study.axes)
    columns = axes[-1].values if axes else (None,)
    rows = axes[0].values if len(axes) > 1 else (None,)
    head = "".join(f"<th scope=col><div>{_text(value)}</div></th>" for value in columns)
    body = []
    for row, value in enumerate(rows):
        cells = "".join(
            _cell(study.cells[row * len(columns) + column], names.get(row * len(columns) + column))
            for column in range(len(columns))
        )
        side = f"<th scope=row><div>{_text(value)}</div></th>" if len(axes) > 1 else ""
        body.append(f"<tr>{side}{cells}</tr>")
    named = " × ".join(_axis_name(axis.name, axis.stage_px) for axis in axes)
    varied = {axis.name for axis in axes if axis.stage_px is None}
    base = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{_text(value)}</dd></div>"
        for name, value in study.base.items()
        if name not in varied and value not in (None, "", [])
    )
    corner = "<td></td>" if len(axes) > 1 else ""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f'<meta http-equiv=Content-Security-Policy content="{_policy()}">'
        f"<title>{escape(named)}</title><style>{_CSS}</style><h1>{escape(named)}</h1>"
        f"<div class=scroll><table><thead><tr>{corner}{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div><h2>Common settings</h2><dl>{base}</dl>"
        f"<dialog><img alt=''></dialog><script>{_SCRIPT}</script></html>"
    )


def _policy() -> str:
    """Return the page's content security policy: its own pictures and script, nothing from a text."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src 'self' file: blob:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _cell(cell: Cell, name: str | None) -> str:
    if name is None:
        return f"<td class=none>{escape(cell.error or cell.state)}</td>"
    shown = " · ".join(
        part
        for part in (
            f"{cell.seconds:.1f} s" if cell.seconds is not None else "",
            f"{cell.consistency:.1f} dB" if cell.consistency is not None else "",
            f"detail {cell.detail * 100:.2f} %" if cell.detail is not None else "",
            f"adherence {cell.adherence * 100:.0f} %" if cell.adherence is not None else "",
        )
        if part
    )
    alt = escape(", ".join(map(str, cell.values)), quote=True)
    return (
        f"<td><button><img loading=lazy src='{escape(name)}' alt='{alt}'></button><small>{shown}</small></td>"
    )


def _picture(cell: Cell, job_of: Callable[[str], RunView | None]) -> Path | None:
    job = job_of(cell.job_id) if cell.job_id and cell.state == "done" else None
    path = job.stages[-1].png_path if job and job.stages else None
    return Path(path) if path and Path(path).is_file() else None


def _axis_name(name: str, stage_px: int | None) -> str:
    return name if stage_px is None else f"{name} at {stage_px} px"


def _text(value: Any) -> str:
    if value == "":
        return "(empty)"
    return escape(f"{value:g}" if isinstance(value, float) else str(value))


def _safe(value: Any) -> Any:
    """Return a value that no spreadsheet reads as a formula, whatever its separator."""
    if isinstance(value, str):
        return _FORMULA.sub(r"\1'", value)
    return json.dumps(value) if isinstance(value, (list, dict)) else value


_CSS = """
:root{color-scheme:light dark;--line:#8884;font:14px system-ui,sans-serif}
body{margin:24px}h1{font-size:20px}h2{font-size:15px;margin-top:28px}
.scroll{overflow:auto;max-height:85vh}table{border-collapse:separate;border-spacing:6px}
thead th{position:sticky;top:0;background:Canvas}
tbody th{position:sticky;left:0;background:Canvas;text-align:right}
th{font-weight:600;max-width:260px;overflow-wrap:break-word;padding:4px 8px}
thead th div{max-height:4.5em;overflow:auto}
tbody th div{min-width:min(150px,22vw);max-height:15em;overflow:auto}
td{text-align:center}td img{display:block;width:256px;max-width:40vw;border-radius:6px}
td button{padding:0;border:0;background:none;cursor:zoom-in}small{display:block;opacity:.7}
.none{min-width:120px;border:1px dashed var(--line);border-radius:6px;padding:12px;max-width:256px}
dl{display:grid;gap:2px}dl div{display:flex;gap:12px}
dt{min-width:180px;opacity:.7}dd{margin:0;overflow-wrap:anywhere}
dialog{padding:0;border:0;max-width:100vw;max-height:100vh;background:#000}
dialog img{display:block;max-width:96vw;max-height:96vh}
dialog::backdrop{background:#000c}
""".strip()
_SCRIPT = """
const box=document.querySelector('dialog'),big=box.querySelector('img');
document.querySelectorAll('td button').forEach(b=>b.addEventListener('click',()=>{
const i=b.querySelector('img');big.src=i.src;big.alt=i.alt;box.showModal()}));
box.addEventListener('click',()=>box.close());
""".strip()
