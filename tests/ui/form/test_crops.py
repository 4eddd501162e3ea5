import dataclasses
import json
from pathlib import Path

import pytest

from gspn_core.settings import RANGES
from ui.form.crops import FOLDER, crops_props
from ui.shared.strings import form_strings


@pytest.fixture
def stored(tmp_path) -> Path:
    """Return a folder with the crops of two sliders, drawn by a model that is not the toy."""
    sliders = {}
    for name, values in {"gaussian_sigma": (0.0, 0.8, 4.0), "guidance_scale": (1.0, 4.0, 20.0)}.items():
        files = [f"{name}-{value:g}.webp" for value in values]
        for file in files:
            (tmp_path / file).write_bytes(file.encode())
        crops = [{"value": value, "file": file} for value, file in zip(values, files, strict=True)]
        sliders[name] = {"top": 8, "left": 16, "crops": crops}
    write(
        tmp_path,
        model={"name": "world", "title": "The embedded model", "sha256": "0"},
        prompt="a lake",
        seed=7,
        target=512,
        crop_px=128,
        sliders=sliders,
    )
    return tmp_path


def write(folder: Path, **index) -> None:
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def read(folder: Path) -> dict:
    return json.loads((folder / "index.json").read_text("utf-8"))


def test_every_crop_says_its_slider_and_its_value(card, stored):
    sliders = crops_props(card, stored)["sliders"]
    assert set(sliders) == {"gaussian_sigma", "guidance_scale"}
    least, default, largest = sliders["gaussian_sigma"]["crops"]
    assert [least["value"], default["value"], largest["value"]] == [0.0, 0.8, 4.0]
    assert [least["said"], default["said"], largest["said"]] == ["0", "0.8", "4"]
    assert default["alt"] == "Blur σ at 0.8" and default["title"] == "Set Blur σ to 0.8"
    assert sliders["gaussian_sigma"]["label"] == "What Blur σ does"


def test_a_crop_where_the_slider_is_neutral_says_what_that_means(card, stored):
    index = read(stored)
    index["sliders"]["gaussian_sigma"]["neutral"] = 0.0
    write(stored, **index)
    said = [crop["said"] for crop in crops_props(card, stored)["sliders"]["gaussian_sigma"]["crops"]]
    assert said == ["0 · all held", "0.8", "4"]


def test_a_crops_address_changes_with_its_bytes(card, stored):
    def address() -> str:
        return crops_props(card, stored)["sliders"]["gaussian_sigma"]["crops"][0]["url"]

    before = address()
    assert before.startswith("gradio_api/file=") and ".webp?v=" in before
    (stored / "gaussian_sigma-0.webp").write_bytes(b"drawn again")
    assert address() != before


def test_the_caption_tells_the_run_and_that_another_model_drew_it(card, stored):
    other = crops_props(card, stored)["caption"]
    assert other == form_strings.crops_drawn("a lake", 512, 7, "Toy")
    assert other.endswith("Drawn by the embedded model, not by Toy.")
    embedded = dataclasses.replace(card, name="world", title="The embedded model")
    own = crops_props(embedded, stored)["caption"]
    assert "a lake" in own and "512 px" in own and "seed 7" in own and "Drawn by" not in own


@pytest.mark.parametrize("text", [None, "", "{"])
def test_nothing_is_shown_where_nothing_is_stored_or_it_cannot_be_read(card, tmp_path, text):
    if text is not None:
        (tmp_path / "index.json").write_text(text)
    assert crops_props(card, tmp_path) == {"sliders": {}, "caption": ""}


def test_a_slider_whose_crop_is_gone_or_out_of_range_shows_none(card, stored):
    (stored / "guidance_scale-4.webp").unlink()
    assert set(crops_props(card, stored)["sliders"]) == {"gaussian_sigma"}
    index = read(stored)
    index["sliders"]["gaussian_sigma"]["crops"][2]["value"] = RANGES["gaussian_sigma"].maximum + 1
    index["sliders"]["no_slider"] = index["sliders"]["gaussian_sigma"]
    write(stored, **index)
    assert crops_props(card, stored)["sliders"] == {}


@pytest.mark.skipif(not (FOLDER / "index.json").is_file(), reason="no crops are stored")
def test_every_slider_with_stored_crops_shows_them(card):
    sliders = crops_props(card)["sliders"]
    assert set(sliders) == set(read(FOLDER)["sliders"])
    assert all(len(slider["crops"]) in (2, 3) for slider in sliders.values())
