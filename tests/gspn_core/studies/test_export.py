"""An exported archive runs no foreign code when it is opened."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import io
import os
import shutil
import zipfile
from html.parser import HTMLParser

import pytest

from gspn_core.runs.run import RunView, StageView
from gspn_core.studies.axis import Axis
from gspn_core.studies.export import page, table, write_export, write_folder
from gspn_core.studies.study import Cell, StudyView

HOSTILE = "</script><img src=x onerror=alert(1)>'\"><svg onload=alert(1)>"


def study(prompt: str) -> StudyView:
    axes = (Axis(name="prompt", values=(prompt, "b")),)
    cells = tuple(
        Cell(values=(value,), settings={"prompt": value, "seed": 1}, state="done") for value in axes[0].values
    )
    base = {"prompt": prompt, "negative_prompt": prompt}
    return StudyView(id="s" * 22, created=1.0, base=base, axes=axes, cells=cells, order=(0, 1))


@pytest.mark.parametrize(
    "prompt",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "\n=1",
        "\u00a0=1",
        "＝1+1",
        "＠x",
        "a;=HYPERLINK(0)",
        "a\n=1",
        "a\t+1",
        'x";=1',
    ],
)
def test_no_cell_of_a_table_is_a_formula_at_whatever_mark_it_is_parted(prompt):
    # A spreadsheet with another separator sees line breaks within quotes too.
    text = table(study(prompt), {}).replace("\r\n", "\n").replace("\r", "\n")
    for mark in ",;\t":
        for row in csv.reader(io.StringIO(text), delimiter=mark):
            for cell in row:
                for line in cell.splitlines() or [""]:
                    assert line.lstrip(' \t\u00a0"')[:1] not in tuple("=+-@＝＋－＠"), (mark, cell)


@pytest.mark.parametrize("prompt", ["a house; two trees", "hills, -rain", "it's", "a = b", "été"])
def test_a_text_that_is_no_formula_comes_back_as_it_is(prompt):
    rows = list(csv.DictReader(io.StringIO(table(study(prompt), {}))))
    assert rows[0]["prompt"] == prompt


class Elements(HTMLParser):
    """The elements of a page, with what its scripts hold."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        if self.found and self.found[-1][0] == "script":
            self.scripts.append(data)


def test_a_page_runs_its_own_script_alone_whatever_a_prompt_holds():
    elements = Elements()
    elements.feed(page(study(HOSTILE), {0: "images/cell-01.png"}))
    assert [tag for tag, _ in elements.found].count("script") == 1
    assert not any(name.startswith("on") for _, names in elements.found for name in names)
    assert not any(tag == "svg" for tag, _ in elements.found)
    policy = next(names["content"] for _, names in elements.found if names.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(elements.scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


@pytest.fixture
def job_of(tmp_path):
    """Return a function that finds the run of each cell, whose picture is a file."""
    for name in ("first", "second"):
        (tmp_path / f"{name}.png").write_bytes(name.encode() * 1000)

    def job(job_id: str) -> RunView:
        stage = StageView(index=0, height=8, width=8, png_path=str(tmp_path / f"{job_id}.png"))
        return RunView(id=job_id, created=1.0, stages=(stage,))

    return job


def drawn(view: StudyView) -> StudyView:
    return view.with_cell(0, job_id="first").with_cell(1, job_id="second")


@pytest.mark.parametrize("created", [0.0, 1.8e9, 2.5e11])
def test_an_archive_is_the_same_bytes_each_time_whenever_the_grid_was_made(tmp_path, job_of, created):
    view = dataclasses.replace(drawn(study("a lake")), created=created)
    for name in ("a.zip", "b.zip"):
        write_export(tmp_path / name, view, job_of)
        os.utime(tmp_path / "first.png", (5e8, 5e8))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_folder_has_what_the_archive_has_and_copies_no_picture_twice(tmp_path, job_of, monkeypatch):
    view, out = drawn(study("a lake")), tmp_path / "out"
    write_export(tmp_path / "study.zip", view, job_of)
    write_folder(out, view, job_of)
    with zipfile.ZipFile(tmp_path / "study.zip") as archive:
        names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
        assert names == set(archive.namelist())
        assert all((out / name).read_bytes() == archive.read(name) for name in names)
    (tmp_path / "first.png").write_bytes(b"drawn again")
    copied = []
    copy = shutil.copyfileobj
    monkeypatch.setattr(shutil, "copyfileobj", lambda *given: (copied.append(given[0].name), copy(*given)))
    write_folder(out, view, job_of)
    assert copied == [str(tmp_path / "first.png")]
    assert (out / "images" / "cell-01.png").read_bytes() == b"drawn again"
