"""Loading a model folder: dtypes, progress, memory and extras."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file

from gspn_core.errors import ModelUnavailable, Stopped
from gspn_core.models.catalog import ADAPTER_FOLDERS, Extras, find_card
from gspn_core.models.loading import load_model
from gspn_core.models.random_weights import write_random_model, write_random_refiner
from gspn_core.models.weights import part_weights


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


def test_the_autoencoder_stays_in_float32_unless_its_config_allows_less(folder):
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"force_upcast": True}))
    model = load_model(str(folder), device="cpu", dtype="bfloat16")
    assert model.pipeline.unet.dtype == torch.bfloat16
    assert model.pipeline.vae.dtype == torch.float32


def test_an_autoencoder_that_says_so_follows_the_model_into_bfloat16_and_no_other_type(folder):
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"force_upcast": False}))
    for dtype in ("bfloat16", "float16", "float32"):
        kind = load_model(str(folder), device="cpu", dtype=dtype).pipeline.vae.dtype
        assert kind == (torch.bfloat16 if dtype == "bfloat16" else torch.float32)


@pytest.mark.parametrize(
    ("device", "dtype", "words"),
    [("tpu", "auto", "auto, cpu or cuda"), ("cpu", "int8", "float32, bfloat16, float16")],
)
def test_an_unknown_device_or_dtype_is_refused(folder, device, dtype, words):
    with pytest.raises(ModelUnavailable, match=words):
        load_model(str(folder), device=device, dtype=dtype)


def test_loading_reports_its_parts_and_ends_with_all_bytes_read(folder):
    reports = []
    load_model(str(folder), device="cpu", on_progress=reports.append)
    assert [progress.part for progress in reports[::2]] == ["text_encoder", "text_encoder_2", "unet", "vae"]
    assert {progress.doing for progress in reports} == {"read"}
    done = [progress.done_bytes for progress in reports]
    assert done == sorted(done) and done[0] == 0
    assert done[-1] == reports[-1].total_bytes > 0


def test_an_exception_from_on_progress_ends_the_loading(folder):
    def leave(_progress):
        raise Stopped("left")

    with pytest.raises(Stopped):
        load_model(str(folder), device="cpu", on_progress=leave)


def test_a_small_decoder_of_other_latents_is_refused(folder, tmp_path):
    tiny = AutoencoderTiny(
        latent_channels=16, encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4
    )
    tiny.save_pretrained(tmp_path / "tiny-decoder")
    with pytest.raises(ModelUnavailable, match="preview's decoder in .* has latents of 16 channels"):
        load_model(str(folder), device="cpu", extras=Extras(preview=str(tmp_path / "tiny-decoder")))


def test_an_extra_that_vanished_since_is_named(folder, tiny_model, tmp_path):
    tiny_model.adapters["gspn"].save(tmp_path / "adapter")
    extras = Extras(adapter=str(tmp_path / "adapter"))
    find_card(str(folder), extras=extras)
    shutil.rmtree(tmp_path / "adapter")
    with pytest.raises(ModelUnavailable, match="adapter is not a folder here"):
        load_model(str(folder), device="cpu", extras=extras)


def test_a_revision_that_is_not_fixed_is_noted_with_its_commit(folder, tmp_path, monkeypatch):
    commit = "c" * 40
    tiny = AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4)
    tiny.save_pretrained(tmp_path / commit)
    monkeypatch.setattr("gspn_core.models.hub.cached_folder", lambda *_, **__: tmp_path / commit)
    floating = load_model(str(folder), device="cpu", extras=Extras(preview="taesdxl"))
    assert floating.notes == (
        f"taesdxl was read at commit {commit} of madebyollin/taesdxl, whose revision is not fixed; keep "
        f"it by naming taesdxl@{commit}.",
    )
    fixed = load_model(str(folder), device="cpu", extras=Extras(preview=f"taesdxl@{commit}"))
    assert fixed.notes == ()
    # Pictures are the same: the same files were read.
    assert fixed.card.fingerprint == floating.card.fingerprint


def test_too_little_memory_is_refused_before_weights_are_read(folder, monkeypatch):
    reports = []
    free = SimpleNamespace(available=100_000)
    monkeypatch.setattr("gspn_core.models.loading.psutil.virtual_memory", lambda: free)
    with pytest.raises(
        ModelUnavailable, match="GB of memory in float32 and 0.0 GB are free.*bfloat16 halves"
    ):
        load_model(str(folder), device="cpu", dtype="float32", on_progress=reports.append)
    assert reports == []


def test_the_half_precision_files_are_taken_where_half_is_asked_for(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    assert part_weights(folder / "unet").variant is None
    half = {name: tensor.half() for name, tensor in load_file(path).items()}
    save_file(half, path.with_name("diffusion_pytorch_model.fp16.safetensors"), metadata={"format": "pt"})
    assert part_weights(folder / "unet", prefer_half=True).variant == "fp16"
    assert part_weights(folder / "unet").variant is None
    path.unlink()
    assert part_weights(folder / "unet").variant == "fp16"
    assert load_model(str(folder), device="cpu", dtype="float32").pipeline.unet.dtype == torch.float32


def test_weights_in_several_files_load_as_one(folder, tiny_pipeline):
    shutil.rmtree(folder / "unet")
    tiny_pipeline.unet.save_pretrained(folder / "unet", max_shard_size="200KB")
    assert len(part_weights(folder / "unet").files) > 1
    model = load_model(str(folder), device="cpu", dtype="float32")
    before, after = tiny_pipeline.unet.state_dict(), model.pipeline.unet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_another_vae_replaces_the_models_own_in_the_dtype_of_the_rest(folder, tiny_pipeline, tmp_path):
    shutil.copytree(folder / "vae", tmp_path / "vae")
    weights = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    save_file(
        {name: tensor * 0.5 for name, tensor in load_file(weights).items()},
        weights,
        metadata={"format": "pt"},
    )
    extras = Extras(vae=str(tmp_path / "vae"))
    model = load_model(str(folder), device="cpu", dtype="bfloat16", extras=extras)
    assert model.pipeline.vae.dtype == torch.bfloat16
    own = tiny_pipeline.vae.decoder.conv_in.weight
    assert torch.allclose(model.pipeline.vae.decoder.conv_in.weight.float(), own * 0.5, atol=1e-2)
    assert model.card.fingerprint != find_card(str(folder), device="cpu", dtype="bfloat16").fingerprint


@pytest.mark.parametrize("mixer", ["gspn", "linear"])
def test_an_adapter_from_elsewhere_offers_its_mixer(folder, tiny_model, tmp_path, mixer):
    tiny_model.adapters[mixer].save(tmp_path / "adapter")
    model = load_model(str(folder), device="cpu", extras=Extras(adapter=str(tmp_path / "adapter")))
    assert mixer in model.card.mixers and set(model.adapters) == {mixer}


def test_a_folder_without_an_adapter_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelUnavailable, match="holds neither a GSPN adapter"):
        find_card(str(folder), extras=Extras(adapter=str(tmp_path / "empty")))


def test_an_unknown_extra_is_refused_with_the_valid_ones(folder):
    with pytest.raises(ModelUnavailable, match="not a folder here and not one of sdxl-vae-fp16-fix"):
        find_card(str(folder), extras=Extras(vae="nowhere"))


def test_a_refiner_loads_with_its_model_and_another_models_does_not(tmp_path):
    write_random_model(tmp_path / "model", "small")
    write_random_refiner(tmp_path / "refiner", "small")
    extras = Extras(refiner=str(tmp_path / "refiner"))
    model = load_model(str(tmp_path / "model"), device="cpu", extras=extras)
    assert model.refiner.config.cross_attention_dim == 24
    config = tmp_path / "refiner" / "unet" / "config.json"
    changed = json.loads(config.read_text()) | {"addition_time_embed_dim": 16}
    config.write_text(json.dumps(changed))
    with pytest.raises(
        ModelUnavailable,
        match="is not a refiner for this model: it needs 64 channels of pooled text and sizes and gets 104",
    ):
        load_model(str(tmp_path / "model"), device="cpu", extras=extras)


def test_sdxl_has_a_card_before_it_is_here_and_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("gspn_core.models.catalog.cached_folder", lambda _snapshot: None)
    monkeypatch.setattr("gspn_core.models.hub.cached_folder", lambda _snapshot, **_: None)
    card = find_card("sdxl")
    assert (card.base_px, card.targets[-1], card.mixers[0]) == (1024, 8192, "attention")

    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.HfApi.get_paths_info", refuse)
    with pytest.raises(ModelUnavailable, match="connect to the network, or give a local SDXL folder"):
        load_model("sdxl", device="cpu")
