"""Each benchmark at toy size: it runs, and its figures are consistent."""

import contextlib
import dataclasses
import itertools
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

import gspn_core.bench.__main__ as command
from gspn_core.bench import against, cascade, mixer, plan, timing, unet
from gspn_core.bench.__main__ import BENCHES
from gspn_core.bench.plot import HEIGHT, WIDTH
from gspn_core.errors import GspnError
from gspn_core.models.shapes import unet_shapes, vae_shapes
from gspn_core.planning.types import Shapes
from gspn_core.runtime.other_work import OtherWork


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


def test_the_cascades_table_has_every_stage_and_the_first_run(tiny_model, monkeypatch, capsys):
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


@pytest.mark.usefixtures("quiet_machine")
def test_predictions_stand_next_to_the_median_of_runs_with_their_errors(tiny_model, monkeypatch, capsys):
    card = dataclasses.replace(tiny_model.card, shapes=tiny_shapes(tiny_model))
    model = dataclasses.replace(tiny_model, card=card)
    monkeypatch.setattr(plan, "load_model", lambda *_args, **_options: model)
    asked = ["plan", "--repeats", "2", "--target", "128", "--mixers", "attention", "--steps", "2"]
    assert command.main([*asked, "--limit", "60"]) == 0
    out = capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == ["64×64", "128×128"]
    for row in rows:
        error = float(row[2]) / float(row[3]) - 1
        assert float(row[4].rstrip("%")) / 100 == pytest.approx(error, abs=0.05)
        least, most = map(float, row[7].split("–"))
        assert least - 0.01 <= float(row[6]) <= most + 0.01
    worst = max(abs(int(row[4].rstrip("%"))) for row in rows)
    assert f"Memory is off by {worst}% at most (bar 15%)" in out


def tiny_shapes(model) -> Shapes:
    pipeline = model.pipeline

    def count(part) -> int:
        return sum(parameter.numel() for parameter in part.parameters())

    return Shapes(
        unet=unet_shapes(pipeline.unet.config, parameters=count(pipeline.unet)),
        vae=vae_shapes(pipeline.vae.config, parameters=count(pipeline.vae)),
        text_parameters=count(pipeline.text_encoder) + count(pipeline.text_encoder_2),
    )


def test_the_cards_tables_have_a_bar_for_the_scan_and_the_mixer(capsys):
    sizes = ["--batch", "1", "--channels", "2", "--side", "12", "--mixer-channels", "32", "--mixer-side", "6"]
    assert command.main(["card", "--device", "cpu", "--repeats", "1", *sizes]) == 0
    out = capsys.readouterr().out
    for direction in ("right", "left", "down", "up"):
        for dtype in range(2):
            assert f"| {direction}, shared weights, chunks of 4 |" in out.split("**Scan of")[dtype + 1]
    assert out.count("the bar is 85%") == 2
    assert "| mixer that scans 1 of 2 channels |" in out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_the_card_benchmark_asks_for_a_card(capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["card"])
    assert ended.value.code == 1
    assert "torch sees no GPU here" in capsys.readouterr().err


def test_every_benchmark_explains_itself(capsys):
    for name in BENCHES:
        with pytest.raises(SystemExit) as ended:
            command.main([name, "--help"])
        assert ended.value.code == 0
        assert "--repeats" in capsys.readouterr().out


@pytest.mark.skipif(not (against.ROOT / ".git").exists(), reason="this copy has no history")
def test_another_commit_is_checked_out_in_its_own_folder_and_removed():
    with against.checked_out("HEAD") as folder:
        assert (folder / "gspn_core" / "engine.py").is_file()
        assert folder != against.ROOT
    assert not folder.exists()
    refusal = pytest.raises(GspnError, match="cannot check that commit out .*name one that `git log` lists")
    with refusal, against.checked_out("no-such-commit"):
        pass


def test_against_another_commit_the_least_of_each_sides_runs_counts(monkeypatch, capsys):
    seconds = iter([9.0, 4.0, 8.0, 5.0])
    monkeypatch.setattr(against, "checked_out", lambda _commit: contextlib.nullcontext(Path("there")))
    monkeypatch.setattr(against, "_run", lambda _folder, _settings, _dtype: {"all": next(seconds)})
    assert command.main(["cascade", "--against", "abc", "--target", "512", "--repeats", "2"]) == 0
    assert "| all | 8.00 | 8–9 | 4.00 | 4–5 | 2.00 |" in capsys.readouterr().out


def test_the_unets_table_has_every_mixer_and_its_plot_a_line_for_each(capsys, tmp_path):
    sizes = ["--model", "small-random", "--device", "cpu", "--sides", "64", "128", "--repeats", "1"]
    assert command.main(["unet", *sizes, "--plot", str(tmp_path / "unet")]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    found = [(row[0].strip("| "), row[1]) for row in rows[2:]]
    assert found == [(mixer, px) for mixer in unet.MIXERS for px in ("64", "128")]
    drawn = ElementTree.fromstring((tmp_path / "unet.svg").read_text())
    texts = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert all(texts.count(mixer) == 2 for mixer in unet.MIXERS)
    assert sum(element.tag.endswith("circle") for element in drawn.iter()) == 4 * 2 * 2
    with Image.open(tmp_path / "unet.png") as image:
        assert image.size == (4 * WIDTH, 2 * HEIGHT)
        assert image.getchannel("A").getextrema() == (0, 255)


def test_a_side_that_would_take_too_long_is_left_out_and_named(capsys):
    sizes = ["--model", "small-random", "--device", "cpu", "--sides", "64", "512", "--repeats", "1"]
    assert command.main(["unet", *sizes, "--mixers", "attention", "--limit-seconds", "1e-6"]) == 0
    assert "attention at 512 px would take too long and was left out." in capsys.readouterr().out


def test_the_mixers_table_has_every_form_by_side_and_shape_with_its_ratio_to_attention(capsys, tmp_path):
    sizes = ["--device", "cpu", "--dtype", "float32", "--sides", "8", "4", "--repeats", "1"]
    assert command.main(["mixer", *sizes, "--plot", str(tmp_path / "mixer")]) == 0
    out = capsys.readouterr().out
    for shape in mixer.SHAPES:
        part = out.split(f"One layer of {shape}")[1].split("Medians;")[0]
        rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")][2:]
        found = [(int(row[0]), row[1]) for row in rows]
        assert found == [(side, name) for side in (4, 8) for name in mixer.MIXERS]
        for row in rows:
            side, name, ms, _, faster, extra, smaller = row
            whole = next(other for other in rows if other[:2] == [side, "attention"])
            assert float(faster) == pytest.approx(float(whole[2]) / float(ms), rel=0.02)
            assert float(smaller) == pytest.approx(float(whole[5]) / float(extra), rel=0.02)
    drawn = ElementTree.fromstring((tmp_path / "mixer.svg").read_text())
    texts = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert texts.count("side of the map, tokens") == 2 * len(mixer.SHAPES)


def test_the_forms_of_a_layer_are_what_a_unet_runs():
    shape = mixer.Shape(channels=32, heads=4, trained_side=8)
    forms = mixer.make_forms(shape, torch.device("cpu"), torch.float32)
    tokens = torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        made = {name: form(tokens, (8, 8)) for name, form in forms.items()}
    # At the size that it was trained at, a neighbourhood is the whole map.
    torch.testing.assert_close(made["neighborhood"], made["attention"])
    others = ("linear", "gspn")
    assert all(made[name].shape == tokens.shape and made[name].isfinite().all() for name in others)
    assert not any(torch.allclose(made[name], made["attention"], atol=1e-3) for name in others)


def test_a_map_too_large_for_the_memory_is_left_out_and_named(monkeypatch, capsys):
    monkeypatch.setattr(mixer, "free_host_bytes", lambda: 100_000)
    sizes = ["--device", "cpu", "--sides", "4", "64", "--repeats", "1", "--shapes", "world"]
    sizes += ["--limit-seconds", "1e9"]
    assert command.main(["mixer", *sizes, "--mixers", "linear"]) == 0
    out = capsys.readouterr().out
    assert "linear at 64² tokens would not fit into the memory and was left out." in out
    assert "| 64 | linear |" not in out


def test_a_quick_look_at_the_mixers_is_two_sides_and_one_run(monkeypatch, capsys):
    monkeypatch.setattr(mixer, "SHAPES", {"world": mixer.Shape(channels=16, heads=2, trained_side=8)})
    assert command.main(["mixer", "--quick", "--device", "cpu", "--mixers", "gspn", "--shapes", "world"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "| gspn |" in line]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == ["32", "64"]


def test_ratios_of_mixers_are_measured_both_ways_next_to_a_neighbour(tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(timing, "load_model", lambda *_args, **_options: tiny_model)
    neighbours_there = []
    neighbour = timing.neighbour

    @contextlib.contextmanager
    def noted(pause_seconds):
        with neighbour(pause_seconds):
            neighbours_there[:] = [pause_seconds is not None]
            yield

    monkeypatch.setattr(timing, "neighbour", noted)
    monkeypatch.setattr(OtherWork, "is_in_the_way", property(lambda _: neighbours_there == [True]))
    assert command.main(["timing", "--repeats", "2", "--side", "64"]) == 0
    ways, neighbours = ("one after the other", "alternately"), ("none", "in bursts", "always")
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if " | " in line]
    ratios = {tuple(row[:2]): row[2].split(", ") for row in rows if len(row) == 4 and row[0] in ways}
    assert set(ratios) == set(itertools.product(ways, neighbours))
    for (way, neighbour), said in ratios.items():
        busy = way == "alternately" and neighbour != "none"
        assert said == ["busy"] * 2 if busy else all(float(one) > 0 for one in said)
