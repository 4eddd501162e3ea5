"""Folders and files that are damaged, incomplete or of another model are refused in one sentence."""

import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from gspn_core.errors import GspnError, ModelUnavailable
from gspn_core.models.catalog import ADAPTER_FOLDERS, find_card
from gspn_core.models.loading import load_model


def _cut_off(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])


def _remove_weights(folder):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()


def _pickle_instead(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({"a": torch.zeros(1)}, path.with_suffix(".bin"))
    path.unlink()


def _other_shapes(folder):
    path = folder / "unet" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "cross_attention_dim": 48}))


def _broken_json(folder):
    (folder / "unet" / "config.json").write_text('{"sample_size": ')


def _other_kind(folder):
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')


def _wrong_tokenizer(folder):
    for path in (folder / "tokenizer").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    "damage",
    [_cut_off, _remove_weights, _pickle_instead, _other_shapes, _broken_json, _other_kind, _wrong_tokenizer],
)
def test_damaged_folders_are_refused_in_one_line(folder, damage):
    damage(folder)
    with pytest.raises(ModelUnavailable) as caught:
        load_model(str(folder), device="cpu")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    assert str(folder) in sentence or folder.name in sentence


def test_a_damaged_adapter_is_refused_in_one_line(folder, tiny_model):
    tiny_model.adapters["gspn"].save(folder / ADAPTER_FOLDERS["gspn"])
    weights = next((folder / ADAPTER_FOLDERS["gspn"]).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(GspnError) as caught:
        load_model(str(folder), device="cpu")
    assert "\n" not in str(caught.value)


def test_a_missing_folder_says_what_to_give_instead(tmp_path):
    with pytest.raises(ModelUnavailable, match="use “world” or a folder"):
        find_card(str(tmp_path / "nowhere"))


def _cut_the_end(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])


def _lose_a_tensor(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors.pop("conv_out.weight")
    save_file(tensors, path, metadata={"format": "pt"})


def _lose_a_shard(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_name("diffusion_pytorch_model-00001-of-00002.safetensors"))


def _lose_a_part(folder):
    shutil.rmtree(folder / "text_encoder_2")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut_off, r"is cut off \(2,000 bytes"),
        (_cut_the_end, "of its .* bytes"),
        (_remove_weights, "holds no .safetensors weights"),
        (_pickle_instead, "diffusion_pytorch_model.bin is a pickled file, .* never loaded"),
        (_lose_a_tensor, "lacks conv_out.weight"),
        (_lose_a_shard, "1 of 2 weight files"),
        (_lose_a_part, "text_encoder_2 is not there"),
    ],
)
def test_each_damage_is_called_by_its_name(folder, damage, message):
    damage(folder)
    with pytest.raises(ModelUnavailable, match=message):
        load_model(str(folder), device="cpu")


def _other_latents(folder):
    _replace_part(folder, "vae", AutoencoderKL, latent_channels=8)


def _other_text(folder):
    _replace_part(folder, "unet", UNet2DConditionModel, cross_attention_dim=48)


def _other_pooled_text(folder):
    _replace_part(folder, "unet", UNet2DConditionModel, addition_time_embed_dim=4)


def _replace_part(folder, name, cls, **changes):
    """Replace a part by a complete one of another model."""
    config = json.loads((folder / name / "config.json").read_text())
    shutil.rmtree(folder / name)
    cls.from_config({**config, **changes}).save_pretrained(folder / name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            _other_latents,
            "the VAE of .* has latents of 8 channels and the UNet needs 4; give an autoencoder for SDXL",
        ),
        (_other_text, "needs 48 channels of text and its text encoders give 32; copy"),
        (_other_pooled_text, "needs 64 channels of pooled text and sizes and gets 40; copy"),
    ],
)
def test_a_part_of_another_model_is_refused_before_anything_is_drawn(folder, damage, message):
    damage(folder)
    with pytest.raises(ModelUnavailable, match=message):
        load_model(str(folder), device="cpu")


def _garbage_header(path):
    size = path.stat().st_size
    path.write_bytes((64).to_bytes(8, "little") + b"\x00\xff" * ((size - 8) // 2))


def _empty(path):
    path.write_bytes(b"")


def _text_page(path):
    path.write_bytes(b"<!doctype html><title>Sign in</title>" * 50)


def _overlong_header(path):
    path.write_bytes((1 << 62).to_bytes(8, "little") + bytes(100))


def _offsets_beyond(path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1 << 40]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
@pytest.mark.parametrize("damage", [_garbage_header, _empty, _text_page, _overlong_header, _offsets_beyond])
def test_a_weight_file_that_is_corrupt_is_named_in_one_sentence(folder, damage, part):
    path = next((folder / part).glob("*.safetensors"))
    damage(path)
    with pytest.raises(ModelUnavailable, match="copy it again") as caught:
        load_model(str(folder), device="cpu")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def _list_for_a_config(folder):
    (folder / "unet" / "config.json").write_text("[]")


def _no_such_block(folder):
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"down_block_types": ["NoBlock"] * 3}))


def _no_scheduler(folder):
    shutil.rmtree(folder / "scheduler")


@pytest.mark.parametrize("damage", [_list_for_a_config, _no_such_block, _no_scheduler])
def test_a_damaged_configuration_is_refused_in_one_line(folder, damage):
    damage(folder)
    with pytest.raises(ModelUnavailable) as caught:
        load_model(str(folder), device="cpu", dtype="bfloat16")
    assert "\n" not in str(caught.value) and folder.name in str(caught.value)
    assert torch.get_default_dtype() == torch.float32


def test_a_folder_that_vanishes_while_it_is_read_is_named(folder):
    with pytest.raises(ModelUnavailable, match="is no longer at"):
        load_model(
            str(folder), device="cpu", on_progress=lambda _progress: shutil.rmtree(folder, ignore_errors=True)
        )


@pytest.mark.parametrize("name", ["weights.ckpt", "weights.bin"])
def test_a_pickled_checkpoint_is_never_opened(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"whatever")
    path.chmod(0)
    with pytest.raises(
        ModelUnavailable, match="is a pickled file, which can hold a program and is never loaded"
    ):
        load_model(str(path), device="cpu")
