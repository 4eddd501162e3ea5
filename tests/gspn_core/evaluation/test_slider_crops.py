"""The crops next to the sliders: which values, which square, which files."""

import json

import numpy as np
import pytest
from PIL import Image

from gspn_core.engine import Engine
from gspn_core.evaluation import slider_crops
from gspn_core.evaluation.slider_crops import (
    FOLDER,
    INDEX,
    NEUTRAL,
    SLIDERS,
    SliderCrops,
    draw_slider_crops,
    most_different_place,
    slider_values,
    weights_hash,
    write_crops,
)
from gspn_core.models.catalog import WORLD_FOLDER
from gspn_core.settings import RANGES, Settings
from ui.form.crops import crops_props
from ui.shared.strings import form_strings


@pytest.fixture
def noise():
    """Return a function: pictures that nothing compresses, three crops of each of `count` sliders."""

    def found(count: int, px: int) -> list[SliderCrops]:
        rng = np.random.default_rng(1)
        return [
            SliderCrops(
                name=name,
                top=8,
                left=16,
                values=(0.0, 0.5, 1.0),
                crops=tuple(Image.fromarray(rng.integers(0, 256, (px, px, 3), np.uint8)) for _ in range(3)),
            )
            for name in SLIDERS[:count]
        ]

    return found


def test_a_slider_is_shown_at_both_ends_of_its_travel_and_at_its_default():
    assert slider_values("gaussian_sigma", 0.8) == (0.0, 0.8, 6.0)
    assert slider_values("upscale_strength", 0.4) == (0.02, 0.4, 1.0)
    assert slider_values("cosine_scale_2", 3.0) == (0.0, 3.0)
    assert slider_values("guidance_stop", 1.0) == (0.0, 1.0)


def test_every_neutral_value_has_a_word_on_the_page():
    assert set(form_strings.NEUTRAL) == set(NEUTRAL)


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_slider_is_shown_where_it_is_neutral_too(name):
    default = getattr(Settings(prompt="a hill"), name) or 3.0
    assert NEUTRAL[name] in slider_values(name, default)
    monotone = slider_values(name, default)
    assert monotone == tuple(sorted(set(monotone)))


def test_the_square_is_where_the_pictures_differ():
    pictures = [np.zeros((64, 96, 3), np.uint8) for _ in range(3)]
    pictures[2][24:40, 48:64] = 200
    assert most_different_place(pictures, 16) == (24, 48)


def test_a_picture_that_is_wild_everywhere_does_not_hide_where_the_others_part():
    rng = np.random.default_rng(0)
    pictures = [np.zeros((64, 64, 3), np.uint8) for _ in range(3)]
    pictures[1][32:48, 16:32] = 3
    pictures[2][:] = rng.integers(0, 256, pictures[2].shape)
    assert most_different_place(pictures, 16) == (32, 16)


def test_equal_pictures_are_cut_in_their_first_corner_and_small_ones_are_refused():
    same = np.full((32, 32, 3), 90, np.uint8)
    assert most_different_place([same, same, same], 16) == (0, 0)
    with pytest.raises(ValueError, match="32×32 px hold no square of 64 px"):
        most_different_place([same, same], 64)


def test_the_crops_of_a_cascade_are_cut_at_one_place_and_shared_stages_run_once(tiny_model, monkeypatch):
    ran = []
    run = Engine.run

    def counted(self, settings, **options):
        ran.append(len(options["finished"]))
        yield from run(self, settings, **options)

    monkeypatch.setattr(Engine, "run", counted)
    monkeypatch.setattr(slider_crops, "SLIDERS", ("gaussian_sigma", "guidance_scale"))
    reported = []

    def on_progress(*progress):
        reported.append(progress[1:])

    found = draw_slider_crops(tiny_model, "a hill", seed=3, target=128, on_progress=on_progress, crop_px=32)
    assert [slider.name for slider in found] == ["gaussian_sigma", "guidance_scale"]
    assert [slider.values for slider in found] == [(0.0, 0.2, 6.0), (1.0, 3.0, 20.0)]
    assert all(crop.size == (32, 32) for slider in found for crop in slider.crops)
    # The first run makes both stages; sigma changes the second alone, guidance both, and the default of
    # every slider is one picture.
    assert ran == [0, 1, 1, 0, 0]
    assert reported == [(i, 6) for i in range(7)]


def test_one_picture_serves_the_default_of_every_slider(tiny_model, monkeypatch):
    monkeypatch.setattr(slider_crops, "SLIDERS", ("gaussian_sigma", "cosine_scale_1"))
    draw = {"seed": 3, "target": 128, "on_progress": lambda *_: None, "crop_px": 128}
    sigma, cosine = draw_slider_crops(tiny_model, "a hill", **draw)
    (least, default, largest), (same, _) = sigma.crops, cosine.crops
    assert default.tobytes() == same.tobytes()
    assert len({crop.tobytes() for crop in (least, default, largest)}) == 3
    again, _ = draw_slider_crops(tiny_model, "a hill", **draw)
    assert [crop.tobytes() for crop in again.crops] == [crop.tobytes() for crop in sigma.crops]


def test_what_is_written_is_in_the_index_and_nothing_older_is_left(noise, tmp_path):
    (tmp_path / "old.webp").write_bytes(b"old")
    size = write_crops(noise(2, 16), tmp_path, {"prompt": "a hill"})
    index = json.loads((tmp_path / INDEX).read_text("utf-8"))
    assert index["prompt"] == "a hill"
    listed = [crop for slider in index["sliders"].values() for crop in slider["crops"]]
    assert {crop["file"] for crop in listed} == {path.name for path in tmp_path.glob("*.webp")}
    assert sum(path.stat().st_size for path in tmp_path.glob("*.webp")) == size
    assert [crop["value"] for crop in listed] == [0.0, 0.5, 1.0] * 2
    first = tmp_path / listed[0]["file"]
    with Image.open(first) as image:
        assert image.size == (16, 16)


def test_crops_that_compress_badly_lose_quality_rather_than_space(noise, tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    assert write_crops(noise(2, 32), few, {}) < slider_crops.MOST_BYTES
    assert write_crops(noise(7, 128), many, {}) < slider_crops.MOST_BYTES * 2
    qualities = [json.loads((folder / INDEX).read_text())["quality"] for folder in (few, many)]
    assert qualities[0] > qualities[1]


def test_the_hash_of_weights_changes_with_them_and_with_nothing_else(tmp_path):
    weights = tmp_path / "unet" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    first = weights_hash(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    assert weights_hash(tmp_path) == first
    weights.write_bytes(b"two")
    assert weights_hash(tmp_path) != first


def test_the_page_shows_what_the_command_writes(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(slider_crops, "SLIDERS", ("gaussian_sigma",))
    monkeypatch.setattr(slider_crops, "load_model", lambda *_, **__: tiny_model)
    monkeypatch.setattr(slider_crops, "model_folder", lambda _: tmp_path)
    out = tmp_path / "crops"
    assert slider_crops.main(["--out", str(out), "--prompt", "a hill", "--seed", "3", "--target", "128"]) == 0
    shown = crops_props(tiny_model.card, out)
    assert [crop["value"] for crop in shown["sliders"]["gaussian_sigma"]["crops"]] == [0.0, 0.2, 6.0]
    neutral, *others = shown["sliders"]["gaussian_sigma"]["crops"]
    assert neutral["said"] == "0 · all held" and [crop["said"] for crop in others] == ["0.2", "6"]
    assert "a hill" in shown["caption"] and "seed 3" in shown["caption"]


@pytest.mark.skipif(not (FOLDER / INDEX).is_file(), reason="no crops are stored")
def test_the_stored_crops_are_small_and_of_the_embedded_model_as_it_is():
    index = json.loads((FOLDER / INDEX).read_text("utf-8"))
    assert set(index["sliders"]) == set(SLIDERS)
    assert sum(path.stat().st_size for path in FOLDER.glob("*.webp")) < slider_crops.MOST_BYTES
    for name, slider in index["sliders"].items():
        values = [crop["value"] for crop in slider["crops"]]
        assert values[0] == RANGES[name].minimum and values[-1] == RANGES[name].maximum
    assert index["model"]["sha256"] == weights_hash(WORLD_FOLDER), (
        "the embedded model has changed; run python -m gspn_core.evaluation.slider_crops"
    )
