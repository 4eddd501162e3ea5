from __future__ import annotations

import pytest

from gspn_core.events import ModelProgress
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import RunView
from gspn_core.runs.terminal import BAR_COLUMNS, Progress, bar


@pytest.fixture
def views(events):
    view, seen = RunView(id="a" * 22, created=0.0), []
    for event in events:
        view = apply_event(view, event)
        seen.append(view)
    return seen


def shown(views, *, quiet: bool) -> None:
    progress = Progress(quiet=quiet)
    for view in views:
        progress.show(view)
    progress.end()


def test_the_bar_has_stage_size_steps_and_time_left(views):
    running = [bar(view) for view in views if view.stage is not None]
    assert running[0] == "1/3 64×64 [................] 0/4"
    assert running[2].startswith("1/3 64×64 [########........] 2/4 1:0")
    assert running[2].endswith(" left")
    assert "3/3 256×256 [################] decode 0:32 left" in running
    assert max(map(len, running)) <= BAR_COLUMNS


def test_a_file_gets_a_line_per_stage(views, capsys):
    shown(views, quiet=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "stage 1/3 64×64 done in 6.0 s, process memory at most 0 MiB"
    assert len(lines) == 3


def test_a_terminal_gets_one_line_that_is_drawn_over_and_wiped(views, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shown(views, quiet=False)
    written = capsys.readouterr().err
    assert written.count("\n") == 3
    assert "\r1/3 64×64 [####............] 1/4" in written
    assert written.endswith("MiB\n")


def test_model_loading_is_shown_only_on_a_terminal(capsys, monkeypatch):
    answer = ModelProgress(doing="fetch", part="sdxl", done_bytes=1_200_000_000, total_bytes=6_900_000_000)
    Progress(quiet=False).model(answer)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress(quiet=False)
    progress.model(answer)
    progress.end()
    written = capsys.readouterr().err
    assert "\rfetching sdxl: 1.2 of 6.9 GB" in written
    assert written.endswith(" " * BAR_COLUMNS + "\r")


def test_quiet_says_nothing(views, capsys):
    shown(views, quiet=True)
    assert capsys.readouterr().err == ""
