"""The whole measurement at toy size, on a toy model and a toy classifier."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from gspn_core.engine import Engine
from gspn_core.errors import BadSetting
from gspn_core.evaluation.commands import main
from gspn_core.evaluation.gallery import Gallery, draw_base_batch
from gspn_core.evaluation.measure import Evaluation, MeasureConfig
from gspn_core.evaluation.progress import Progress
from gspn_core.evaluation.prompts import held_out_prompts
from gspn_core.evaluation.renders import Renders, world_fingerprint
from gspn_core.evaluation.variations import OWN, REFERENCES, measure_variations, read_settings, variations
from gspn_core.events import StageDone
from gspn_core.metrics.classifier import Classifier
from gspn_core.settings import Settings
from gspn_core.training.classifier_training import checkpoint
from gspn_core.world.scene import ATTRIBUTES

MIXERS = ("attention", "neighborhood")


def test_a_batch_of_base_pictures_is_what_each_prompt_gives_alone(model):
    engine = Engine(model)
    settings = [
        Settings(prompt=text, target=64, mixer="attention", num_inference_steps=3, seed=seed)
        for seed, text in enumerate(("snowy hills at night", "sand dunes", "green mountains by day"))
    ]
    batch = draw_base_batch(model, [engine.plan(each).stages[0] for each in settings])
    for each, image in zip(settings, batch, strict=True):
        (alone,) = (event.image for event in engine.run(engine.plan(each)) if isinstance(event, StageDone))
        apart = np.abs(np.asarray(alone, int) - np.asarray(image, int))
        assert apart.max() <= 2


def test_a_batch_of_different_steps_is_refused(model):
    engine = Engine(model)
    stages = [
        engine.plan(Settings(prompt="hills", target=64, num_inference_steps=steps, seed=0)).stages[0]
        for steps in (2, 3)
    ]
    with pytest.raises(ValueError, match="number of steps"):
        draw_base_batch(model, stages)


def test_pictures_that_are_there_are_not_drawn_again(model, tmp_path, silent):
    prompts = held_out_prompts(3)
    gallery = Gallery(tmp_path, model, asked={"num_inference_steps": 2}, batch=2, on_progress=silent)
    gallery.draw_bases(prompts, "attention")
    gallery.draw_cascades(prompts[:1], "attention", 128)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert len(made) == 4
    gallery.draw_bases(prompts, "attention")
    gallery.draw_cascades(prompts[:1], "attention", 128)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == made
    assert gallery.picture(prompts[0], "attention", 128).size == (128, 128)


@pytest.mark.parametrize(
    "asked",
    [
        {"guidance_scale": 20.0, "guidance_stop": 0.5},
        {"scheduler": "dpm++2m-sde"},
        {"overrides": "64.crop_top=64"},
        {"upscale_strength": 0.9},
    ],
)
def test_bases_are_drawn_as_their_settings_ask_alone_or_in_a_batch(model, tmp_path, asked, silent):
    asked = {"num_inference_steps": 2, **asked}
    prompts = held_out_prompts(2)
    gallery = Gallery(tmp_path, model, asked=asked, batch=2, on_progress=silent)
    gallery.draw_bases(prompts, "attention")
    for prompt in prompts:
        settings = Settings(prompt=prompt.text, mixer="attention", target=64, seed=prompt.number, **asked)
        engine = Engine(model)
        events = engine.run(engine.plan(settings))
        (alone,) = (event.image for event in events if isinstance(event, StageDone))
        kept = gallery.picture(prompt, "attention", 64)
        assert np.abs(np.asarray(alone, int) - np.asarray(kept, int)).max() <= 2


def test_references_are_kept_and_come_from_larger_views(tmp_path, silent):
    renders = Renders(tmp_path, crop_px=32, processes=1, seed=0, on_progress=silent)
    renders.draw_references(3, 128)
    first = [*renders.references(3, 128)]
    assert [crop.shape for crop in first] == [(32, 32, 3)] * 3
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    renders.draw_references(3, 128)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == files


def test_the_worlds_fingerprint_is_the_same_on_every_call():
    assert world_fingerprint() == world_fingerprint()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_in_a_log_is_a_line_now_and_then():
    log = io.StringIO()
    progress = Progress(log, every_seconds=0.0)
    for done in range(4):
        progress("pictures", done, 3)
    progress("scenes", 3, 3)
    lines = log.getvalue().splitlines()
    assert [line.split(" [")[0].split("|")[-1].strip() for line in lines] == [
        "0/3",
        "1/3",
        "2/3",
        "3/3",
        "3/3",
    ]
    assert all(line.startswith("pictures: ") for line in lines[:4]) and lines[4].startswith("scenes: 100%")
    assert "\r" not in log.getvalue()
    seldom = io.StringIO()
    progress = Progress(seldom)
    for done in range(101):
        progress("pictures", done, 100)
    assert len(seldom.getvalue().splitlines()) == 2


def test_progress_on_a_terminal_is_one_bar_for_each_name():
    terminal = Terminal()
    progress = Progress(terminal)
    for name in ("pictures", "scenes"):
        for done in range(3):
            progress(name, done, 2)
    *bars, rest = terminal.getvalue().split("\n")
    assert [bar.split("\r")[-1].split("|")[0] for bar in bars] == ["pictures: 100%", "scenes: 100%"]
    assert rest == ""


def test_the_whole_measurement_fills_every_figure_and_every_picture(model, classifier, tmp_path, silent):
    config = MeasureConfig(
        mixers=MIXERS,
        pictures=3,
        cascades=(3, 2),
        target=256,
        crops=(2, 5),
        references=4,
        asked={"num_inference_steps": 2},
        batch=2,
        processes=1,
    )
    evaluation = Evaluation(model, classifier, tmp_path, config, silent)
    assert len([*evaluation.run()]) == 4
    drawn = {px: len([*(tmp_path / "pictures" / f"attention-{px}").glob("*.png")]) for px in (64, 128, 256)}
    assert drawn == {64: 3, 128: 3, 256: 2}
    figures = evaluation.figures
    assert {source for name, source, px in figures if (name, px) == ("frechet", 64)} == {*MIXERS, "renders"}
    larger = {*MIXERS, "bicubic", "lanczos", "renders decoded", "renders"}
    for name in ("frechet", "consistency", "detail", "slope", "drift", "repetition", "seams", "adherence"):
        for side in (128, 256):
            assert {source for figure, source, px in figures if (figure, px) == (name, side)} == larger
    assert all(figures["psnr", "vae", side] > 0 for side in (64, 128, 256))
    labels, rows = evaluation.sheet_rows(5)
    assert len(rows) == 2 and all(len(pictures) == len(labels) == 7 for _, pictures in rows)
    assert all(picture.size == (64, 64) for _, pictures in rows for picture in pictures)


def test_a_target_that_the_model_does_not_reach_is_refused(model, classifier, tmp_path, silent):
    with pytest.raises(BadSetting, match="got 100; name one"):
        Evaluation(model, classifier, tmp_path, MeasureConfig(mixers=MIXERS, target=100), silent)


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({"cascades": (3, 2, 2)}, "cascades must be one number or 2, one per size, got 3"),
        ({"cascades": (2, 3)}, "a larger size must not have more cascades, got 2, 3"),
        ({"cascades": (5,)}, "cascades must be between 2 and the 4 pictures, got 5"),
        ({"cascades": (2,), "crops": (2, 0)}, "crops must be at least 1, got 2, 0"),
    ],
)
def test_counts_that_no_size_can_have_are_refused(model, classifier, tmp_path, counts, sentence, silent):
    config = MeasureConfig(mixers=MIXERS, pictures=4, target=256, **counts)
    with pytest.raises(BadSetting, match=sentence):
        Evaluation(model, classifier, tmp_path, config, silent)


def test_mixers_that_the_model_does_not_have_are_refused(model, classifier, tmp_path, silent):
    with pytest.raises(BadSetting, match="has none of linear"):
        Evaluation(model, classifier, tmp_path, MeasureConfig(mixers=("linear",), target=128), silent)


def test_the_command_writes_figures_and_a_sheet(trained, tmp_path, monkeypatch, capsys):
    _, out = trained
    monkeypatch.setattr(Classifier.__init__, "__defaults__", (ATTRIBUTES, (8, 8), 8))
    classifier = Classifier()
    torch.save({"averages": {"classifier": classifier.state_dict()}}, checkpoint(tmp_path, classifier))
    counts = {
        "pictures": 2,
        "cascades": 2,
        "target": 128,
        "references": 2,
        "rows": 1,
        "threads": 1,
    }
    options = [word for name, count in counts.items() for word in (f"--{name}", str(count))]
    where = ["--work", str(tmp_path), "--classifier", str(tmp_path), "--model", str(out), "--device", "cpu"]
    where += ["--set", "guidance_scale=1", "scheduler=ddim", "num_inference_steps=1"]
    assert main(["figures", *where, "--mixers", "attention", *options]) == 0
    record = json.loads((tmp_path / "figures" / "figures.json").read_text())
    assert record["setting"]["pictures"] == 2
    asked = {"guidance_scale": 1, "scheduler": "ddim", "num_inference_steps": 1}
    assert record["setting"]["asked"] == asked
    assert any(row["figure"] == "frechet" and row["px"] == 128 for row in record["figures"])
    assert "## Bars" in capsys.readouterr().out
    assert (tmp_path / "figures" / "figures.md").read_text().startswith("# The embedded model, measured")
    with Image.open(tmp_path / "figures" / "sheet.png") as sheet:
        assert sheet.width > 5 * 64


def test_the_command_without_a_classifier_says_what_to_do(trained, tmp_path, capsys):
    _, out = trained
    with pytest.raises(SystemExit) as stopped:
        main(["figures", "--work", str(tmp_path), "--classifier", str(tmp_path), "--model", str(out)])
    assert stopped.value.code == 1
    assert "evaluation classifier" in capsys.readouterr().err


def test_settings_are_tried_one_at_a_time_from_the_same_bases(model, classifier, tmp_path, silent):
    asked = {"num_inference_steps": 4}
    config = MeasureConfig(
        mixers=("attention",), cascades=(2,), target=128, crops=(2,), references=4, asked=asked, processes=1
    )
    evaluation = Evaluation(model, classifier, tmp_path, config, silent)
    tried = ["upscale_strength=0.25", "upscale_strength=1", "cosine_scale_1=0.1", "scheduler=dpm++2m-sde"]
    rows = [*measure_variations(evaluation, variations(tried))]
    assert [row.title for row in rows] == [OWN, *tried, *REFERENCES]
    own, little, much, held, _sde, *references = rows
    assert little.pairs < own.pairs == held.pairs < much.pairs
    assert all(row.pairs is None for row in references)
    assert len([*(tmp_path / "pictures" / "attention-64").glob("*.png")]) == 2
    assert len([*(tmp_path / "pictures" / "attention-128").glob("*.png")]) == 2 * 5
    assert len({row.figures["consistency"] for row in rows}) == len(rows)
    assert little.figures["consistency"] > much.figures["consistency"]


def test_unknown_settings_and_a_cascade_of_one_stage_are_refused(model, classifier, tmp_path, silent):
    with pytest.raises(BadSetting, match="strenght is not a setting"):
        variations(["strenght=0.3"])
    with pytest.raises(BadSetting, match="mixer is set by the measurement"):
        variations(["mixer=attention"])
    with pytest.raises(BadSetting, match="guidance_scale is given twice"):
        read_settings(["guidance_scale=2", "guidance_scale=3"])
    with pytest.raises(BadSetting, match="must look like upscale_strength=0.3, got 'sigma'"):
        variations(["sigma"])
    config = MeasureConfig(mixers=("attention",), target=64)
    evaluation = Evaluation(model, classifier, tmp_path, config, silent)
    with pytest.raises(BadSetting, match="64 px has one stage only"):
        next(measure_variations(evaluation, variations([])))


def test_the_settings_command_writes_a_table(trained, tmp_path, capsys):
    _, out = trained
    options = ["--work", str(tmp_path), "--model", str(out), "--device", "cpu", "--threads", "1"]
    options += ["--cascades", "2", "--target", "128", "--references", "2", "--crops", "1"]
    options += ["--mixer", "attention", "--set", "num_inference_steps=2", "--vary", "scheduler=ddim"]
    assert main(["settings", *options]) == 0
    record = json.loads((tmp_path / "figures" / "settings.json").read_text())
    assert [row["title"] for row in record["rows"]] == [OWN, "scheduler=ddim", *REFERENCES]
    table = (tmp_path / "figures" / "settings.md").read_text()
    assert table in capsys.readouterr().out
    assert [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")][2:] == [
        f"| {title}" for title in (OWN, "scheduler=ddim", *REFERENCES)
    ]
    assert "num_inference_steps=2" in table


def test_too_few_cascades_are_refused_before_anything_is_drawn(trained, tmp_path, capsys):
    _, out = trained
    with pytest.raises(SystemExit) as stopped:
        main(["settings", "--work", str(tmp_path), "--model", str(out), "--target", "128", "--cascades", "1"])
    assert stopped.value.code == 1 and "got 1" in capsys.readouterr().err
    assert not [*tmp_path.rglob("*.png")]
