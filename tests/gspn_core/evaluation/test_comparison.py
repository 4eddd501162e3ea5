"""The comparison of methods at toy size: what is drawn, kept, written and refused."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from gspn_core.errors import BadSetting, ModelUnavailable
from gspn_core.evaluation.coding import reconstruct
from gspn_core.evaluation.commands import main
from gspn_core.evaluation.comparison import Comparison, ComparisonConfig, Drawings
from gspn_core.evaluation.comparison_report import comparison_json, comparison_markdown, comparison_notes
from gspn_core.evaluation.methods import (
    Method,
    cascade_settings,
    chosen,
    hires_fix,
    make_methods,
    read_variant,
)
from gspn_core.evaluation.pairs import ScenePair
from gspn_core.evaluation.prompts import held_out_prompts
from gspn_core.evaluation.upscaler import Upscaler, read_upscaler, why_no_upscaler
from gspn_core.settings import Override
from gspn_core.world.render.draw import render

SHORT = "short: num_inference_steps=2, mixer=attention"
METHODS = ("bicubic", "hires fix 0.25", "short", "autoencoder")


@pytest.fixture(scope="module")
def pair():
    return rendered(0)


def rendered(number):
    prompt = held_out_prompts(number + 1)[number]
    base, truth = (Image.fromarray(render(prompt.scene, height=side, width=side)) for side in (64, 128))
    return ScenePair(prompt=prompt, base=base, truth=truth)


def config(**changes):
    given = {
        "scenes": 2,
        "target": 128,
        "crops": 2,
        "processes": 1,
        "variants": (read_variant(SHORT),),
        "methods": METHODS,
    }
    return ComparisonConfig(**{**given, **changes})


def pixels(image):
    return np.asarray(image, int)


def test_a_variant_is_read_as_the_command_line_writes_settings():
    variant = read_variant('gentle: upscale_strength=0.25, 128.mixer=attention, negative_prompt="fog, rain"')
    assert variant.name == "gentle"
    assert variant.asked["upscale_strength"] == 0.25
    assert variant.asked["negative_prompt"] == "fog, rain"
    assert variant.asked["overrides"] == (Override(stage_px=128, name="mixer", value="attention"),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("upscale_strength=0.25", "must look like"),
        ("gentle:", "must look like"),
        ("gentle: upscale_strength", "must be one setting=value"),
        ("gentle: seed=3", "seed is the comparison's own"),
        ("gentle: strenght=0.3", "strenght is not a setting"),
        ("gentle: upscale_strength=7", "try 1"),
        ("gentle: 128.target=64", "cannot be overridden"),
    ],
)
def test_a_variant_that_cannot_be_is_refused(text, sentence):
    with pytest.raises(BadSetting, match=sentence):
        read_variant(text)


def test_methods_have_one_name_each_and_are_chosen_by_it(model):
    methods = make_methods(model, 128, hires=(0.25, 0.4), variants=[read_variant(SHORT)])
    names = [method.name for method in methods]
    own = [f"cascade {mixer}" for mixer in model.card.mixers]
    assert names == ["bicubic", "lanczos", "hires fix 0.25", "hires fix 0.4", *own, "short", "autoencoder"]
    assert [m.name for m in chosen(methods, ["short", "bicubic"])] == ["bicubic", "short"]
    with pytest.raises(BadSetting, match="'nearest' is not a method here; choose from bicubic"):
        chosen(methods, ["nearest"])
    with pytest.raises(BadSetting, match="two methods are called 'bicubic'"):
        make_methods(model, 128, hires=(), variants=[read_variant("bicubic: guidance_scale=1")])


def test_a_key_changes_with_the_settings_the_scene_and_the_size(model, pair):
    def keys(px, *variants):
        return {m.key(pair) for m in make_methods(model, px, hires=(0.25, 0.4), variants=variants)}

    first = read_variant("one: upscale_strength=0.3")
    here, again = keys(128, first), keys(128, first)
    assert here == again and len(here) == 6 + len(model.card.mixers)
    assert len(here - keys(128, read_variant("one: upscale_strength=0.5"))) == 1
    assert not (here & keys(256, first)) - {make_methods(model, 128, hires=())[-1].key(pair)}
    other = {m.key(rendered(1)) for m in make_methods(model, 128, hires=(0.25, 0.4), variants=(first,))}
    assert not here & other


def test_the_hires_fix_runs_the_model_again_over_the_enlargement(model, pair):
    little, much = (hires_fix(model, pair, 128, strength) for strength in (0.1, 0.8))
    assert little.size == much.size == (128, 128)
    assert np.array_equal(pixels(little), pixels(hires_fix(model, pair, 128, 0.1)))
    soft = pixels(reconstruct(model, pair.base.resize((128, 128), Image.Resampling.LANCZOS)))
    assert 0 < np.abs(pixels(little) - soft).mean() < np.abs(pixels(much) - soft).mean()


def test_a_cascade_starts_from_the_true_base_with_its_defaults(model, pair):
    settings = cascade_settings(model, 128, {}, pair)
    assert settings.start.startswith("64x64-") and settings.mixer == model.card.mixers[0]
    stages = make_methods(model, 128, hires=())[2]
    assert stages.draw(pair).size == (128, 128)


def test_a_picture_is_drawn_once_and_its_first_in_a_process_is_not_timed(tmp_path):
    drawn = []

    def draw(pair):
        drawn.append(pair.prompt.number)
        return pair.truth

    method = Method(name="the truth", depends_on=lambda _: 1, draw=draw)
    drawings = Drawings(folder=tmp_path)
    first, second = (drawings.picture(method, rendered(number)) for number in (0, 1))
    assert first[1] is None and second[1] >= 0
    later = Drawings(folder=tmp_path)
    assert later.picture(method, rendered(1))[1] == second[1]
    assert drawn == [0, 1]
    assert np.array_equal(pixels(second[0]), pixels(rendered(1).truth))


def test_the_walk_measures_each_method_and_draws_nothing_again(
    model, classifier, tmp_path, monkeypatch, silent
):
    comparison = Comparison(model, classifier, tmp_path, config(), silent)
    assert [*comparison.run()] == [1, 2]
    rows = {row.name: row.figures for row in comparison.rows()}
    assert [*rows] == [*METHODS, "renders"]
    assert rows["renders"]["psnr"].value == 100 and rows["renders"]["frechet"].value < 1e-6
    assert rows["renders"]["octave 1"].value == 1
    assert rows["bicubic"]["octave 1"].value < 0.3
    assert all(row["frechet"].value >= 0 for row in rows.values())
    assert rows["bicubic"]["seconds"].value >= 0
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert len(made) == 4 + 2 * len(METHODS)

    again = Comparison(model, classifier, tmp_path, config(), silent)
    monkeypatch.setattr(Drawings, "_draw", lambda *_: pytest.fail("a picture was drawn again"))
    assert [*again.run()] == [1, 2]
    assert again.rows() == comparison.rows()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == made


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": 64}, "has targets of 128, .*got 64"),
        ({"scenes": 1}, "needs 2 scenes and 1 crop at least, got 1"),
        ({"methods": ("fog",)}, "'fog' is not a method"),
        ({"variants": (read_variant("other: mixer=linear"),), "methods": ()}, "has no linear mixer"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_drawn(
    model, classifier, tmp_path, changes, sentence, silent
):
    with pytest.raises(BadSetting, match=sentence):
        Comparison(model, classifier, tmp_path, config(**changes), silent)
    assert not [*tmp_path.rglob("*")]


def test_tables_have_a_cell_per_column_and_json_no_infinity(model, classifier, tmp_path, silent):
    comparison = Comparison(model, classifier, tmp_path, config(methods=("bicubic", "lanczos")), silent)
    [*comparison.run()]
    notes = comparison_notes(comparison.config, model, 2)
    text = comparison_markdown(comparison.rows(), comparison.bases(), notes, base_px=64, px=128)
    for part in text.split("\n\n"):
        if part.startswith("|"):
            assert len({line.count("|") for line in part.splitlines()}) == 1
    assert "| renders | 100.00 ± 0.00 | 1.000 ± 0.000 | 0.000 ± 0.000 |" in text
    assert "| base, 64 px |" in text
    record = comparison_json(comparison.rows(), comparison.found, comparison.bases(), {"scenes": 2})
    assert json.loads(json.dumps(record, allow_nan=False))["methods"][0]["method"] == "bicubic"


def test_the_command_writes_a_table_a_record_and_a_sheet(trained, tmp_path, capsys):
    _, out = trained
    options = ["climb", "--work", str(tmp_path / "work"), "--model", str(out), "--device", "cpu"]
    options += ["--dtype", "float32", "--threads", "1", "--scenes", "2", "--target", "128", "--rows", "1"]
    options += ["--variant", SHORT, "--method", *METHODS, "--out", str(tmp_path / "out")]
    assert main(options) == 0
    table = (tmp_path / "out" / "climb.md").read_text()
    assert table in capsys.readouterr().out
    assert "short: num_inference_steps=2, mixer=attention" in table
    assert "give a Real-ESRGAN file with --esrgan" in table
    record = json.loads((tmp_path / "out" / "climb.json").read_text())
    assert [row["method"] for row in record["methods"]] == [*METHODS, "renders"]
    assert len(record["methods"][0]["scenes"]) == 2
    with Image.open(tmp_path / "out" / "climb.png") as sheet:
        assert sheet.width > 4 * 64


def test_an_upscaler_is_applied_until_the_target_is_reached():
    twice = Upscaler(torch.nn.Upsample(scale_factor=2, mode="nearest"), "cpu", "made")
    base = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8))
    large = twice.enlarge(base, 192)
    assert np.array_equal(pixels(large), pixels(base.resize((192, 128), Image.Resampling.NEAREST)))
    assert twice.enlarge(base, 144).size == (144, 96)
    with pytest.raises(ModelUnavailable, match="returns 48 px for 48 px"):
        Upscaler(torch.nn.Identity(), "cpu", "made").enlarge(base, 96)


def test_a_missing_upscaler_is_one_sentence(tmp_path):
    assert "give a Real-ESRGAN file" in why_no_upscaler(None)
    if find_spec("spandrel") is None:
        assert "x4.pth needs the package spandrel" in why_no_upscaler(tmp_path / "x4.pth")
        return
    (tmp_path / "x4.pth").write_bytes(b"nothing")
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        read_upscaler(tmp_path / "x4.pth", "cpu")
