import json
import shutil

import pytest
import torch

from gspn_core.errors import GspnError, ModelUnavailable
from gspn_core.models.catalog import ADAPTER_FOLDERS, find_card
from gspn_core.models.loading import load_model


@pytest.fixture(scope="module")
def saved(tiny_pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "tiny")


def test_a_saved_sdxl_folder_loads_with_the_same_weights(folder, tiny_pipeline):
    model = load_model(str(folder), device="cpu", dtype="float32")
    assert model.card.base_px == 64
    assert model.card.mixers == ("attention", "neighborhood")
    assert model.adapters == {}
    before, after = tiny_pipeline.unet.state_dict(), model.pipeline.unet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.requires_grad for p in model.pipeline.unet.parameters())


def test_a_folder_with_an_adapter_offers_its_mixer_first(folder, tiny_model):
    tiny_model.adapters["gspn"].save(folder / ADAPTER_FOLDERS["gspn"])
    model = load_model(str(folder), device="cpu")
    assert model.card.mixers == ("gspn", "attention", "neighborhood")
    assert set(model.adapters["gspn"].mixers) == set(tiny_model.adapters["gspn"].mixers)


def test_a_folder_with_linfusions_weights_offers_linear_attention(folder, tiny_model):
    tiny_model.adapters["linear"].save(folder / ADAPTER_FOLDERS["linear"])
    model = load_model(str(folder), device="cpu", dtype="float32")
    assert model.card.mixers == ("attention", "neighborhood", "linear")
    before, after = tiny_model.adapters["linear"].state_dict(), model.adapters["linear"].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_autoencoder_stays_in_float32(folder):
    model = load_model(str(folder), device="cpu", dtype="bfloat16")
    assert model.pipeline.unet.dtype == torch.bfloat16
    assert model.pipeline.vae.dtype == torch.float32


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


@pytest.mark.parametrize(
    ("device", "dtype", "words"),
    [("tpu", "auto", "auto, cpu or cuda"), ("cpu", "int8", "float32, bfloat16, float16")],
)
def test_an_unknown_device_or_dtype_is_refused(folder, device, dtype, words):
    with pytest.raises(ModelUnavailable, match=words):
        load_model(str(folder), device=device, dtype=dtype)
