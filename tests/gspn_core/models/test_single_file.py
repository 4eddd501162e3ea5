import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from gspn_core.errors import ModelUnavailable
from gspn_core.models.catalog import Extras, find_card, local_models
from gspn_core.models.layout import LAYOUTS
from gspn_core.models.loading import load_model
from gspn_core.models.random_weights import write_random_model
from gspn_core.models.single_file import config_folder
from tests.gspn_core.models.original_layout import original_tensors


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a folder with a checkpoint in one file, its configuration next to it, and the model in parts."""
    folder = tmp_path_factory.mktemp("single")
    write_random_model(folder / "parts", "small")
    model = load_model(str(folder / "parts"), device="cpu", dtype="float32")
    shutil.copytree(folder / "parts", folder / "mine", ignore=shutil.ignore_patterns("*.safetensors"))
    save_file(original_tensors(model.pipeline), folder / "mine.safetensors")
    return folder, model


def test_a_checkpoint_in_one_file_holds_the_same_weights_as_its_folder(saved):
    folder, parts = saved
    model = load_model(str(folder / "mine.safetensors"), device="cpu", dtype="float32")
    for name in ("text_encoder", "text_encoder_2", "unet", "vae"):
        wanted = getattr(parts.pipeline, name).state_dict()
        found = getattr(model.pipeline, name).state_dict()
        assert wanted.keys() == found.keys()
        assert all(torch.equal(wanted[key], found[key]) for key in wanted), name
    assert model.card.base_px == 64 and model.card.title == "mine"
    assert len(model.pipeline.tokenizer) == model.pipeline.text_encoder.config.vocab_size


def test_its_progress_ends_with_the_whole_file(saved):
    reports = []
    load_model(str(saved[0] / "mine.safetensors"), device="cpu", dtype="bfloat16", on_progress=reports.append)
    assert reports[0].done_bytes == 0
    assert reports[-1].done_bytes == reports[-1].total_bytes == (saved[0] / "mine.safetensors").stat().st_size


def test_its_autoencoder_stays_in_float32_and_another_may_take_its_place(saved):
    path = str(saved[0] / "mine.safetensors")
    assert load_model(path, device="cpu", dtype="bfloat16").pipeline.vae.dtype == torch.float32
    extras = Extras(vae=str(saved[0] / "parts" / "vae"))
    model = load_model(path, device="cpu", dtype="bfloat16", extras=extras)
    assert model.pipeline.vae.dtype == torch.bfloat16


def test_it_is_found_among_the_models_of_a_folder(saved):
    folder = saved[0]
    assert [name.rpartition("/")[2] for name in local_models(folder)] == ["mine", "mine.safetensors", "parts"]


def test_a_file_of_another_kind_is_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelUnavailable, match="is not an SDXL checkpoint"):
        find_card(str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("bytes_", [b"", b"\x08", b"\xff" * 40, b"\x02\x00\x00\x00\x00\x00\x00\x00[]"])
def test_a_file_in_another_format_is_refused(tmp_path, bytes_):
    (tmp_path / "broken.safetensors").write_bytes(bytes_)
    with pytest.raises(ModelUnavailable, match="broken.safetensors is .*copy it again"):
        find_card(str(tmp_path / "broken.safetensors"))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("model.diffusion_model.out.2.weight", r"lacks 1 of the \d+ tensors of its unet; copy it"),
        (
            "first_stage_model.decoder.conv_out.weight",
            r"lacks 1 of the \d+ tensors of its vae; copy it again",
        ),
    ],
)
def test_an_incomplete_part_is_refused(saved, tmp_path, missing, message):
    folder, _ = saved
    shutil.copytree(folder / "mine", tmp_path / "mine")
    tensors = load_file(folder / "mine.safetensors")
    tensors.pop(missing)
    save_file(tensors, tmp_path / "mine.safetensors")
    with pytest.raises(ModelUnavailable, match=message):
        load_model(str(tmp_path / "mine.safetensors"), device="cpu")


@pytest.mark.parametrize("channels", [4, 9])
def test_without_a_folder_next_to_it_sdxls_layout_and_tokenizers_are_used(saved, tmp_path, channels):
    path = tmp_path / "alone.safetensors"
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(8, channels, 3, 3)}, path)
    with config_folder(path, lambda: saved[0] / "parts") as configs:
        unet = (configs / "unet" / "config.json").read_text()
        assert str(LAYOUTS["full"].unet["cross_attention_dim"]) in unet
        assert ('"in_channels": 9' in unet) == (channels == 9)
        assert (configs / "tokenizer_2" / "tokenizer.json").is_file()
    assert not configs.exists()


def test_missing_tokenizers_are_named_with_the_remedy(tmp_path):
    def nowhere():
        raise ModelUnavailable("no network")

    with (
        pytest.raises(ModelUnavailable, match="put the folders tokenizer and tokenizer_2 of any SDXL"),
        config_folder(tmp_path / "alone.safetensors", nowhere),
    ):
        pytest.fail("there is no such folder")
