"""The entry point: its command line, its exit codes, and that it holds nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import app

APP = Path(app.__file__)


def test_a_bad_argument_ends_with_code_2_and_a_sentence(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        app.main(["--port", "web"])
    assert end.value.code == 2
    assert "must be a whole number from 1 to 65535" in capsys.readouterr().err


def test_a_space_gives_the_command_line_by_a_variable(monkeypatch, capsys) -> None:
    monkeypatch.setenv("GSPN_ARGS", "--quota-gb 'a lot'")
    monkeypatch.setattr(sys, "argv", ["app.py"])
    with pytest.raises(SystemExit):
        app.main()
    assert "--quota-gb: must be a number above 0, got 'a lot'" in capsys.readouterr().err


def test_it_serves_with_the_loader_that_it_is_given(monkeypatch, free_port, tmp_path) -> None:
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    opened = []
    flags = ["--port", str(free_port), "--jobs", str(tmp_path), "--device", "cpu"]

    class Idle:
        def run(self, _settings, _should_stop):
            yield from ()

    code = app.main(flags, load=lambda *_: (Idle(), "a machine"), wait=lambda: opened.append(True))
    assert (code, opened) == (0, [True])


def test_a_start_imports_no_torch_and_reports_to_no_one() -> None:
    code = "import sys, os, app; print('torch' in sys.modules, os.environ['GRADIO_ANALYTICS_ENABLED'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=APP.parent, capture_output=True, text=True, timeout=600
    )
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_the_entry_point_stays_short() -> None:
    assert len(APP.read_text("utf-8").splitlines()) <= 120
