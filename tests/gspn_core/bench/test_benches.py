"""Each benchmark at toy size: it runs, and its figures hang together."""

import json

import pytest

import gspn_core.bench.__main__ as command
from gspn_core.bench import cascade
from gspn_core.bench.__main__ import BENCHES


def test_the_scans_table_has_every_direction_and_attention(capsys, tmp_path):
    path = tmp_path / "scan.json"
    assert command.main(["scan", "--maps", "64", "--side", "16", "--repeats", "1", "--json", str(path)]) == 0
    (table,) = json.loads(path.read_text())["tables"]
    names = [row[0] for row in table["rows"]]
    assert [name for name in names if name.startswith("line_scan cpu")] == [
        f"line_scan cpu, {direction}" for direction in ("right", "left", "down", "up")
    ]
    assert any(name.startswith("attention") for name in names)
    assert all(float(row[1]) > 0 for row in table["rows"])
    assert "| line_scan cpu, down |" in capsys.readouterr().out


def test_the_cascades_table_tells_every_stage_and_the_first_run(tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(cascade, "load_model", lambda *_args, **_options: tiny_model)
    assert command.main(["cascade", "--repeats", "1", "--target", "128", "--mixers", "attention"]) == 0
    out = capsys.readouterr().out
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| ")]
    stages = {row[0].strip("| "): row for row in rows}
    assert {"64×64", "128×128", "all"} <= set(stages)
    since = [float(stages[name][5]) for name in ("64×64", "128×128")]
    seconds = [float(stages[name][3]) for name in ("64×64", "128×128")]
    assert since[0] < since[1]
    assert since[1] >= sum(seconds) - 0.02
    assert "First run of the process:" in out


def test_every_benchmark_explains_itself(capsys):
    for name in BENCHES:
        with pytest.raises(SystemExit) as ended:
            command.main([name, "--help"])
        assert ended.value.code == 0
        assert "--repeats" in capsys.readouterr().out
