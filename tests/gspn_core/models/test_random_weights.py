import json
import math

import pytest
import torch

from gspn_core.cli.models import main
from gspn_core.errors import ModelUnavailable
from gspn_core.models import random_weights
from gspn_core.models.catalog import find_card
from gspn_core.models.layout import LAYOUTS, vocabulary_size, write_configs, write_tokenizers
from gspn_core.models.loading import load_model
from gspn_core.models.random_weights import write_random_model, write_random_refiner
from gspn_core.models.weights import part_weights


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    write_random_model(folder, "small")
    return folder


def weight_files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.safetensors")}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(small, tmp_path):
    write_random_model(tmp_path / "again", "small")
    write_random_model(tmp_path / "other", "small", seed=1)
    assert weight_files(tmp_path / "again") == weight_files(small)
    assert all(weight_files(tmp_path / "other")[name] != data for name, data in weight_files(small).items())


def test_progress_names_every_file_that_is_written(tmp_path):
    reports = []
    written = write_random_model(tmp_path / "made", "small", on_bytes=lambda *bytes_: reports.append(bytes_))
    assert reports[-1] == (written, written)
    parts = ("text_encoder", "text_encoder_2", "unet", "vae")
    assert sum(2 * part_weights(tmp_path / "made" / name).count for name in parts) == written


def test_a_random_folder_loads_and_predicts_noise_of_unit_size(small):
    unet = load_model(str(small), device="cpu", dtype="float32").pipeline.unet
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    embeds = {"text_embeds": torch.zeros(1, 24), "time_ids": torch.full((1, 6), 64.0)}
    with torch.inference_mode():
        predicted = unet(sample, 500, torch.zeros(1, 77, 40), added_cond_kwargs=embeds).sample
    assert 0.1 < predicted.std() < 10


def test_the_full_size_has_sdxls_parameters(tmp_path):
    write_configs(tmp_path, LAYOUTS["full"])
    shapes = {
        name: random_weights._shapes(name, tmp_path / name)
        for name in ("text_encoder", "text_encoder_2", "unet", "vae")
    }
    counts = {name: sum(math.prod(shape) for shape, _ in part.values()) for name, part in shapes.items()}
    assert counts["unet"] == 2_567_463_684
    assert counts["vae"] == 83_653_863
    assert counts["text_encoder"] == 123_060_480
    assert counts["text_encoder_2"] == 694_659_840


def test_the_full_sizes_tokenizer_has_clips_count_and_the_embedded_ones_words(tmp_path):
    from transformers import CLIPTokenizer

    write_tokenizers(tmp_path, vocabulary_size(LAYOUTS["full"].text_encoder))
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer", local_files_only=True)
    ids = tokenizer("a lake").input_ids
    assert len(tokenizer) == 49408
    assert (ids[0], ids[-1]) == (49406, 49407)
    assert 3 < len(ids) < 9 and max(ids[1:-1]) < 800


def test_the_full_refiner_has_its_parameters(tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps(LAYOUTS["full"].refiner))
    shapes = random_weights._shapes("unet", tmp_path / "unet").values()
    assert sum(math.prod(shape) for shape, _ in shapes) == pytest.approx(2.3e9, rel=0.05)


def test_a_refiner_is_a_folder_with_a_unet_alone(tmp_path):
    write_random_refiner(tmp_path / "refiner", "small")
    assert [path.name for path in (tmp_path / "refiner").iterdir()] == ["unet"]


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ModelUnavailable, match="is not empty; name a new folder"):
        write_random_model(tmp_path, "small")


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(random_weights.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(ModelUnavailable, match="0.0 GB free; make room"):
        write_random_model(tmp_path / "new", "small")
    assert weight_files(tmp_path / "new") == {}


def test_the_command_writes_a_folder_that_has_a_card(tmp_path, capsys):
    assert main(["random", str(tmp_path / "tiny"), "--size", "small"]) == 0
    assert "MB of random weights" in capsys.readouterr().out
    assert find_card(str(tmp_path / "tiny")).base_px == 64
    assert main(["random", str(tmp_path / "tiny"), "--size", "small"]) == 3
    assert "is not empty" in capsys.readouterr().err


def test_the_list_names_every_model_and_extra(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in ("world", "sdxl ", "sdxl-vae-fp16-fix", "sdxl-refiner", "taesdxl", "linfusion-xl"):
        assert name in printed
