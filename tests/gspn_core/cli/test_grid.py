"""`python -m gspn_core grid`: the Lab's cells without the page, resumed, exported, refused."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import gspn_core.__main__ as entry
import gspn_core.cli.command as codes
from gspn_core.cli import grid as command
from gspn_core.errors import OutOfMemory
from gspn_core.images.load import reference_of
from gspn_core.images.png_text import read_png
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import FIELD_NAMES, Settings
from gspn_core.studies.runner import Studies
from tests.gspn_core.conftest import CARD

ROOT = Path(__file__).parents[3]
BASE = {"prompt": "a lake", "seed": 3, "target": 128}
SIGMAS = {"name": "gaussian_sigma", "values": [0, 1]}
SEEDS = {"name": "seed", "values": "2 from 5"}
MEASURED = {"seconds", "saved_seconds", "processor_seconds", "peak_bytes"}


@pytest.fixture
def grid_file(tmp_path):
    """Return a function that writes the file of a grid."""

    def write(*axes: dict, base: dict = BASE, name: str = "settings.json") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps({"base": base, "axes": list(axes)}))
        return path

    return write


def run(engine, file: Path, out: Path, *options: str, card=CARD) -> int:
    """Run the command on an engine."""
    return command.main(
        [str(file), "--out", str(out), *options],
        load=lambda *_names, **_options: engine,
        find=lambda *_names, **_options: card,
    )


def no_engine(*_names, **_options):
    pytest.fail("nothing is loaded")


def refused(file: Path, out: Path, capsys, *options: str, card=CARD) -> str:
    """Run the command where it is refused before anything is loaded, and return its sentence."""
    arguments = [str(file), "--out", str(out), *options]
    assert command.main(arguments, load=no_engine, find=lambda *_a, **_k: card) == codes.USAGE
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert printed.out == "" and line.startswith("error: ")
    return line.removeprefix("error: ")


def files(folder: Path) -> dict[str, bytes]:
    """Return what is exported in a folder, without the runs."""
    found = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    return {name: content for name, content in named.items() if not name.startswith("runs/")}


def unzipped(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def drawn(folder: Path) -> dict[str, tuple[bytes, dict]]:
    """Return the pixels and settings of each cell; the file says as well whether torch was loaded."""
    found = (folder / "images").iterdir()
    return {
        path.name: (Image.open(path).tobytes(), read_png(path)["gspn_studio"]["settings"]) for path in found
    }


def rows(table: bytes) -> list[dict[str, str]]:
    """Return the cells of a table without what was measured of their runs."""
    found = csv.DictReader(io.StringIO(table.decode()))
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in found]


@pytest.mark.usefixtures("one_thread")
def test_a_grid_is_the_labs_byte_for_byte_in_both_directions(tiny_model, tmp_path):
    from gspn_core.engine import Engine
    from ui.form.form import initial_values
    from ui.lab.lab import Lab

    card, engine = tiny_model.card, Engine(tiny_model)
    form = {**initial_values(card), "prompt": "lake", "seed": "1", "target": 128, "num_inference_steps": 2}
    axes = [{"name": "gaussian_sigma", "text": "0, 1"}, {"name": "mixer", "text": "gspn, attention"}]

    def exported(folder: Path, act) -> dict[str, bytes]:
        jobs = RunQueue(engine.run, folder, plan=engine.plan)
        studies = Studies(jobs)
        try:
            study_id = act(Lab(studies, jobs, card), studies)
            assert Lab(studies, jobs, card).archive({"study": study_id})["kind"] == "archive"
        finally:
            studies.close()
            jobs.close()
        return (folder / "studies" / study_id / "study.zip").read_bytes()

    def draw(lab, studies) -> str:
        begun = lab.begin({"axes": axes}, [form[name] for name in FIELD_NAMES], "anna")
        list(studies.follow(begun["id"]))
        return begun["id"]

    (tmp_path / "lab.zip").write_bytes(exported(tmp_path / "jobs", draw))
    ours, theirs = tmp_path / "out", unzipped(tmp_path / "lab.zip")
    (tmp_path / "study.json").write_bytes(theirs["study.json"])
    assert run(engine, tmp_path / "study.json", ours, card=card) == codes.DONE
    mine = files(ours)
    assert set(mine) == {*theirs, "study.zip"}
    pictures = [name for name in theirs if name.startswith("images/")]
    assert len({mine[name] for name in pictures}) == 4
    assert all(mine[name] == theirs[name] for name in pictures)
    assert rows(mine["cells.csv"]) == rows(theirs["cells.csv"])
    one, other = json.loads(mine["study.json"]), json.loads(theirs["study.json"])
    assert (one["base"], one["axes"], one["order"]) == (other["base"], other["axes"], other["order"])
    # What the page exports of the command's own runs is what the command exported.
    (study,) = (ours / "runs" / "studies").iterdir()
    assert exported(ours / "runs", lambda _lab, _studies: study.name) == mine["study.zip"]
    assert unzipped(ours / "study.zip") == {name: text for name, text in mine.items() if name != "study.zip"}


KILLED = """
import os, signal, sys
from gspn_core.cli import grid
from tests.gspn_core.conftest import CARD, Engine

def kill(settings, number):
    if (settings.gaussian_sigma, settings.seed) == (1.0, 6) and number == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

grid.main([sys.argv[1], "--out", sys.argv[2]], load=lambda *a, **k: Engine(kill), find=lambda *a, **k: CARD)
"""


@pytest.mark.parametrize("event", [1, 4])
def test_after_a_kill_only_what_is_not_done_is_drawn(grid_file, make_engine, tmp_path, event):
    file, out = grid_file(SIGMAS, SEEDS), tmp_path / "out"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(file), str(out), str(event)], cwd=ROOT, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    (record,) = (out / "runs" / "studies").glob("*/study.json")
    states = [cell["state"] for cell in json.loads(record.read_text())["view"]["cells"]]
    assert states == ["done", "done", "done", "running"]
    engine = make_engine()
    assert run(engine, file, out) == codes.DONE
    (settings,) = engine.ran
    assert (settings.gaussian_sigma, settings.seed) == (1.0, 6)
    # Its first stage is that of a cell that is done.
    assert [len(finished) for finished in engine.finished] == [1]
    assert len(list((out / "images").iterdir())) == 4
    whole = tmp_path / "whole"
    assert run(make_engine(), file, whole) == codes.DONE
    assert drawn(out) == drawn(whole)


def test_a_grid_that_is_done_draws_nothing_again(grid_file, make_engine, tmp_path, capsys):
    file, out = grid_file(SIGMAS, SEEDS), tmp_path / "out"
    assert run(make_engine(), file, out) == codes.DONE
    written = files(out)
    engine = make_engine()
    assert run(engine, file, out) == codes.DONE
    assert engine.ran == [] and files(out) == written
    # What was exported is the same grid.
    assert run(engine, out / "study.json", out) == codes.DONE
    assert engine.ran == []
    assert capsys.readouterr().out.splitlines() == [str(out / "index.html")] * 3


def test_stages_that_cells_share_are_drawn_once(grid_file, make_engine, tmp_path, capsys):
    engine = make_engine()
    assert run(engine, grid_file(SIGMAS, SEEDS), tmp_path / "out") == codes.DONE
    assert sum(2 - len(finished) for finished in engine.finished) == 6
    assert "4 cells of 4 images: 6 stages to run, 2 shared or cached" in capsys.readouterr().err


def test_an_open_seed_is_drawn_once_and_kept(grid_file, make_engine, tmp_path):
    file = grid_file(SIGMAS, base={"prompt": "a lake", "target": 64})
    first, again = make_engine(), make_engine()
    assert run(first, file, tmp_path / "out") == codes.DONE
    assert len({settings.seed for settings in first.ran}) == 1
    assert run(again, file, tmp_path / "out") == codes.DONE
    assert again.ran == []


def test_more_cells_than_on_the_page_run(grid_file, make_engine, tmp_path):
    engine = make_engine()
    seeds, steps = {"name": "seed", "values": "35 from 1"}, {"name": "guidance_scale", "values": [1, 2]}
    file = grid_file(seeds, steps, base={"prompt": "a lake", "target": 64, "num_inference_steps": 1})
    assert run(engine, file, tmp_path / "out", "--no-zip") == codes.DONE
    assert len(list((tmp_path / "out" / "images").iterdir())) == len(engine.ran) == 70
    assert not (tmp_path / "out" / "study.zip").exists()


@pytest.mark.parametrize(
    ("axes", "base", "sentence"),
    [
        ([{"name": "sed", "values": [1]}], BASE, "'sed' is not a setting; choose one of prompt,"),
        ([{"name": ["seed"], "values": [1]}], BASE, "is not a setting; choose one of prompt,"),
        ([{"name": "seed"}], BASE, "an axis has a name, values and at most a stage_px; write it as in"),
        ([{"name": "seed", "values": 3}], BASE, "the values of seed must be a list or a text; write them"),
        ([{"name": "seed", "values": []}], BASE, "seed has no values; type some, such as 4 from 7."),
        ([{"name": "seed", "values": ["x"]}], BASE, "seed has the value 'x', which is not a number; correct"),
        ([{"name": "seed", "values": "many"}], BASE, "'many' is not a number for seed; write"),
        ([{"name": "prompt", "values": [7]}], BASE, "prompt has the value '7', which is not a text; correct"),
        ([{"name": "guidance_scale", "values": [1, 900]}], BASE, "guidance_scale must be a number from"),
        ([{"name": "gaussian_sigma", "values": [1], "stage_px": 100}], BASE, "cannot be set for a stage of"),
        ([{"name": "gaussian_sigma", "values": [1], "stage_px": [1]}], BASE, "cannot be set for a stage of"),
        ([{"name": "gaussian_sigma", "values": [1], "stage_px": 64.0}], BASE, "cannot be set for a stage of"),
        ([SEEDS, SEEDS], BASE, "both axes are seed; choose another setting for one of them."),
        ([], BASE, "axes has 0 axes; give 1 to 2."),
        ([SEEDS, SIGMAS, SEEDS], BASE, "axes has 3 axes; give 1 to 2."),
        ([{"name": "seed", "values": "65 from 1"}], BASE, "seed has 65 values, at most 64 fit; leave some"),
        (
            [{"name": "seed", "values": "50 from 1"}, {"name": "guidance_scale", "values": "1-10 [40]"}],
            BASE,
            "the axes have 2,000 cells, at most 1,000 fit; leave some values out.",
        ),
        ([SEEDS], {**BASE, "sigma": 2}, "sigma is not a setting; the settings are"),
        ([SEEDS], {"target": 64}, "prompt is missing; say what the picture should show."),
        ([SEEDS], [1], "base must be settings by name and axes a list; write them as in"),
        ([SEEDS], {**BASE, "start": "150x100-" + "0" * 64}, "150x100 px; give that one with --start."),
    ],
)
def test_a_grid_that_is_not_valid_is_one_sentence(grid_file, tmp_path, capsys, axes, base, sentence):
    assert sentence in refused(grid_file(*axes, base=base), tmp_path / "out", capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"{'base': 1}", "is not valid JSON (line 1, column 2: "),
        (b'{"base": {}', "is not valid JSON (line 1, column 12: "),
        (b"\xff\xfe\x00", "is not valid JSON (UnicodeDecodeError); correct it."),
        (b"[" * 100_000, "is not valid JSON ("),
        (b"[]", "has not both base and axes; write them as in"),
        (b'{"base": {}}', "has not both base and axes; write them as in"),
        (b'{"base": {}, "axes": [], "axis": 1}', "has 'axis', which no grid has; leave it out."),
        (None, "cannot be read (No such file or directory); name the file of a grid."),
    ],
)
def test_a_file_that_is_not_a_grid_is_one_sentence(tmp_path, capsys, text, sentence):
    if text is not None:
        (tmp_path / "grid.json").write_bytes(text)
    assert sentence in refused(tmp_path / "grid.json", tmp_path / "out", capsys)


def test_a_folder_that_has_something_else_is_left_as_it_is(grid_file, make_engine, tmp_path, capsys):
    file, out = grid_file(SIGMAS), tmp_path / "out"
    assert run(make_engine(), file, out) == codes.DONE
    capsys.readouterr()
    written = files(out)
    other = grid_file(SEEDS, name="other.json")
    assert refused(other, out, capsys) == f"{out} has another grid; name another folder."
    moved = grid_file(SIGMAS, base={**BASE, "target": 256}, name="moved.json")
    assert refused(moved, out, capsys) == f"{out} has another grid; name another folder."
    again = dataclasses.replace(CARD, name="other toy")
    assert "has this grid of toy as it was loaded then" in refused(file, out, capsys, card=again)
    assert files(out) == written
    (out / "runs" / "grid.json").write_text("{}")
    assert refused(file, out, capsys).endswith("grid.json is damaged; name another folder.")
    used = tmp_path / "used"
    used.mkdir()
    (used / "index.html").write_text("mine")
    assert refused(file, used, capsys) == f"{used} has other files; name an empty folder."
    assert "(Not a directory); name another folder." in refused(file, file, capsys)


def test_a_folder_that_another_command_uses_is_left_to_it(grid_file, make_engine, tmp_path, capsys):
    file, out = grid_file(SIGMAS), tmp_path / "out"
    found = []
    engine = make_engine(
        before_event=lambda _settings, number: number or found.append(run(make_engine(), file, out))
    )
    assert run(engine, file, out) == codes.DONE
    assert found == [codes.FAILED] * 2
    assert "is in use by another server" in capsys.readouterr().err


def test_an_interrupt_ends_the_cell_and_the_grid_goes_on_later(grid_file, make_engine, tmp_path):
    file, out = grid_file(SIGMAS, SEEDS), tmp_path / "out"
    asked = threading.Event()

    def interrupt(settings: Settings, number: int) -> None:
        if (settings.gaussian_sigma, settings.seed) == (0.0, 6) and number >= 3:
            if not asked.is_set():
                asked.set()
                signal.raise_signal(signal.SIGINT)
            # The main thread takes the signal, and the stop reaches the run from a third.
            threading.Event().wait(0.05)

    before = signal.getsignal(signal.SIGINT)
    engine = make_engine(before_event=interrupt)
    assert run(engine, file, out) == codes.INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is before
    cells = json.loads((out / "study.json").read_text())["cells"]
    done = [number for number, cell in enumerate(cells) if cell["state"] == "done"]
    assert {cell["state"] for cell in cells} == {"done", "waiting"}
    assert len(list((out / "images").iterdir())) == len(done)
    again = make_engine()
    assert run(again, file, out) == codes.DONE
    assert len(again.ran) == 4 - len(done)
    assert len(list((out / "images").iterdir())) == 4


def test_a_cell_that_fails_is_said_and_tried_again(grid_file, make_engine, tmp_path, capsys):
    def breaks(settings: Settings, number: int) -> None:
        if settings.gaussian_sigma == 1.0 and number == 3:
            raise OutOfMemory("The stage needs 9 GB.")

    file, out = grid_file(SIGMAS), tmp_path / "out"
    assert run(make_engine(before_event=breaks), file, out) == codes.FAILED
    assert "cell 2/2: gaussian_sigma 1 failed: The stage needs 9 GB." in capsys.readouterr().err
    assert [row["state"] for row in rows(files(out)["cells.csv"])] == ["done", "failed"]
    engine = make_engine()
    assert run(engine, file, out) == codes.DONE
    assert [settings.gaussian_sigma for settings in engine.ran] == [1.0]
    assert [row["state"] for row in rows(files(out)["cells.csv"])] == ["done", "done"]


def test_each_cell_is_a_line_where_no_bar_can_be_drawn_and_quiet_says_nothing(
    grid_file, make_engine, tmp_path, capsys
):
    assert run(make_engine(), grid_file(SIGMAS), tmp_path / "out") == codes.DONE
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" done in ")[0] for line in lines[1:]] == [
        "cell 1/2: gaussian_sigma 0",
        "cell 2/2: gaussian_sigma 1",
    ]
    assert run(make_engine(), grid_file(SIGMAS), tmp_path / "quiet", "--quiet") == codes.DONE
    assert capsys.readouterr().err == ""


def test_all_cells_start_from_the_image_that_is_given(grid_file, make_engine, tmp_path, capsys):
    photograph = tmp_path / "photograph.png"
    Image.linear_gradient("L").resize((150, 100)).save(photograph)
    strengths = {"name": "start_strength", "values": [0.4, 0.8]}
    engine = make_engine()
    options = ("--start", str(photograph))
    assert run(engine, grid_file(strengths), tmp_path / "out", *options) == codes.DONE
    assert [start.size for start in engine.starts] == [(150, 100)] * 2
    assert {settings.start for settings in engine.ran} == {reference_of(engine.starts[0])}
    capsys.readouterr()
    exported = tmp_path / "out" / "study.json"
    assert refused(exported, tmp_path / "again", capsys).endswith("give that one with --start.")
    assert run(make_engine(), exported, tmp_path / "again", *options) == codes.DONE


def test_it_is_a_command_of_the_core_s_own(tmp_path, capsys):
    assert entry.main(["grid", str(tmp_path / "none.json"), "--out", str(tmp_path / "out")]) == codes.USAGE
    assert "none.json cannot be read" in capsys.readouterr().err
    for arguments, name in ((["grid", "--help"], "gspn_core grid"), (["--help"], "gspn_core [")):
        with pytest.raises(SystemExit) as caught:
            entry.main(arguments)
        assert caught.value.code == 0
        assert name in capsys.readouterr().out
