"""`--pictures N` draws the first stages of several seeds; any of them can be taken to the target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gspn_core.cli.command as codes
import gspn_core.cli.generate as command
from gspn_core.images.png_text import read_png
from tests.gspn_core.conftest import Engine


def run(engine, *arguments: str, out: Path) -> int:
    return command.main([*arguments, "--out", str(out)], load=lambda *_names, **_options: engine)


def drawn(folder: Path) -> dict[str, dict]:
    return {path.name: read_png(path)["gspn_studio"] for path in sorted(folder.glob("*.png"))}


@pytest.mark.parametrize("together", [0, 1, 3])
def test_each_picture_has_its_own_seed_in_its_name_and_text(tmp_path, together, capsys):
    engine = Engine(together=together)
    flags = ["a lake", "--seed", "5", "--target", "256", "--pictures", "4"]
    assert run(engine, *flags, out=tmp_path) == command.DONE
    found = drawn(tmp_path)
    assert list(found) == [f"a-lake-{seed}-stage-0-64x64.png" for seed in (5, 6, 7, 8)]
    assert [info["settings"]["seed"] for info in found.values()] == [5, 6, 7, 8]
    assert {info["settings"]["target"] for info in found.values()} == {256}
    assert {info["stage"] for info in found.values()} == {0}
    assert {len(info["stages"]) for info in found.values()} == {3}
    assert len(engine.ran) == {0: 4, 1: 2, 3: 1}[together]
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_again_takes_a_picture_to_the_target(tmp_path):
    flags = ["a lake", "--seed", "5", "--target", "256", "--pictures", "2"]
    assert run(Engine(), *flags, out=tmp_path / "batch") == command.DONE
    engine = Engine()
    picked = tmp_path / "batch" / "a-lake-6-stage-0-64x64.png"
    assert run(engine, "--again", str(picked), out=tmp_path / "whole") == command.DONE
    assert [settings.seed for settings in engine.ran] == [6]
    assert len(drawn(tmp_path / "whole")) == 3


@pytest.mark.parametrize("pictures", ["0", "9", "-1"])
def test_a_count_that_cannot_be_is_refused(tmp_path, pictures, capsys):
    assert run(Engine(), "a lake", f"--pictures={pictures}", out=tmp_path) == codes.USAGE
    assert "1 to 8" in capsys.readouterr().err


def test_one_json_object_names_all_files(tmp_path, capsys):
    engine = Engine(together=1)
    flags = ["a lake", "--seed", "5", "--pictures", "2", "--json", "--quiet"]
    assert run(engine, *flags, out=tmp_path) == command.DONE
    record = json.loads(capsys.readouterr().out)
    assert len(record["paths"]) == 2
