"""Weights in fewer bits, with a stand-in for the package that keeps them, and with torchao where it is."""

from __future__ import annotations

import dataclasses
import importlib.machinery
import importlib.util

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gspn_core.attention.full_weight import full_weight, is_kept_whole
from gspn_core.bench.__main__ import main as bench
from gspn_core.engine import Engine
from gspn_core.errors import AdapterMismatch, ModelUnavailable
from gspn_core.events import StageDone
from gspn_core.models.catalog import ADAPTER_FOLDERS, Extras, find_card
from gspn_core.models.layout import LAYOUTS
from gspn_core.models.loading import load_model
from gspn_core.models.quantize import (
    NOT_QUANTIZED,
    REFINER_LINEAR,
    SCHEMES,
    SDXL_LINEAR,
    find_scheme,
    linear_layers,
    scheme_dtype,
)
from gspn_core.models.random_weights import write_random_model, write_random_refiner
from gspn_core.models.shapes import SDXL_SHAPES
from gspn_core.planning.costs import Work, predict
from gspn_core.planning.fitting import cheaper, fit
from gspn_core.planning.types import Machine, MemoryOptions
from gspn_core.settings import Settings
from tests.gspn_core.models import stand_in
from tests.gspn_core.models.original_layout import original_tensors

INT8 = Extras(quantize="int8")
HAS_TORCHAO = importlib.util.find_spec("torchao") is not None


@pytest.fixture
def pretend(monkeypatch):
    """Pretend that every package is installed in the given version; None: not installed."""

    def pretended(version: str | None) -> None:
        spec = None if version is None else importlib.machinery.ModuleSpec("any", None)
        monkeypatch.setattr("gspn_core.models.quantize.importlib.util.find_spec", lambda _name: spec)
        monkeypatch.setattr("gspn_core.models.quantize.metadata.version", lambda _name: version)

    return pretended


@pytest.fixture(params=["stand-in", "torchao"])
def package(request, monkeypatch):
    """Let the stand-in implement `int8`, and torchao if it is installed."""
    if request.param == "torchao":
        if not HAS_TORCHAO:
            pytest.skip("torchao is not installed; the stand-in is tried alone")
        return
    from diffusers.quantizers import auto

    monkeypatch.setitem(auto.AUTO_QUANTIZER_MAPPING, "torchao", stand_in.Quantizer)
    monkeypatch.setattr("gspn_core.models.catalog.find_scheme", SCHEMES.__getitem__)
    monkeypatch.setattr("gspn_core.models.loading.find_scheme", SCHEMES.__getitem__)
    monkeypatch.setattr("gspn_core.models.catalog.metadata.version", lambda _name: "1.0")
    monkeypatch.setattr(
        "gspn_core.models.loading.diffusers_config", lambda _scheme, _dtype: stand_in.Config(NOT_QUANTIZED)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    write_random_model(folder, "small")
    return folder


def pictures(model, mixer):
    engine = Engine(model)
    ask = Settings(prompt="a lake", target=128, seed=3, num_inference_steps=2, mixer=mixer)
    return [
        np.asarray(event.image).astype(int)
        for event in engine.run(engine.plan(ask), previews=False)
        if isinstance(event, StageDone)
    ]


def layers_of(unet):
    return {name: layer for name, layer in unet.named_modules() if isinstance(layer, nn.Linear)}


@pytest.mark.usefixtures("package")
def test_the_transformers_linear_layers_are_kept_in_eight_bits_and_nothing_else(folder):
    model = load_model(str(folder), device="cpu", extras=INT8)
    unet, kept = model.pipeline.unet, model.card.shapes.unet.quantized
    quantised = {name for name, layer in layers_of(unet).items() if not is_kept_whole(layer)}
    assert quantised == {name for name in layers_of(unet) if "attentions." in name}
    assert (kept.scheme, kept.package, kept.layers) == ("int8", "torchao", len(quantised))
    assert kept.numbers == sum(layers_of(unet)[name].weight.numel() for name in quantised)
    assert kept.numbers < kept.kept_bytes < 1.5 * kept.numbers
    others = (model.pipeline.text_encoder, model.pipeline.text_encoder_2)
    assert all(is_kept_whole(layer) for part in others for layer in layers_of(part).values())
    assert unet.dtype == torch.bfloat16


@pytest.mark.usefixtures("package")
def test_a_layers_weight_is_read_in_full_to_a_two_hundredth(folder):
    kept = layers_of(load_model(str(folder), device="cpu", extras=INT8).pipeline.unet)
    full_model = layers_of(load_model(str(folder), device="cpu", dtype="bfloat16").pipeline.unet)
    for name, layer in kept.items():
        full, wanted = full_weight(layer), full_model[name].weight
        assert full.shape == wanted.shape and full.dtype == wanted.dtype
        assert (full - wanted).norm() <= 0.01 * wanted.norm()


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("mixer", ["attention", "neighborhood", "gspn", "linear"])
def test_every_mixer_draws_nearly_the_same_over_them(folder, tmp_path, mixer):
    full_model = load_model(str(folder), device="cpu", dtype="bfloat16")
    extras = INT8
    if mixer in ADAPTER_FOLDERS:
        adapter = _adapter(full_model.pipeline.unet, mixer)
        adapter.save(tmp_path / "adapter")
        extras = dataclasses.replace(INT8, adapter=str(tmp_path / "adapter"))
        full_model = load_model(
            str(folder), device="cpu", dtype="bfloat16", extras=dataclasses.replace(extras, quantize=None)
        )
    kept = load_model(str(folder), device="cpu", extras=extras)
    for one, other in zip(pictures(full_model, mixer), pictures(kept, mixer), strict=True):
        assert 0 < np.abs(one - other).mean() < 6


def _adapter(unet, mixer):
    from gspn_core.attention.gspn_adapter import GSPNAdapter
    from gspn_core.attention.linear_adapter import LinearAdapter

    torch.manual_seed(0)
    made = {"gspn": GSPNAdapter, "linear": LinearAdapter}[mixer].construct_for(unet)
    made.trained = True
    return made


@pytest.mark.usefixtures("package")
def test_an_adapter_of_another_model_is_still_refused_over_them(folder, tmp_path):
    write_random_model(tmp_path / "other", "small", seed=1)
    other = load_model(str(tmp_path / "other"), device="cpu")
    _adapter(other.pipeline.unet, "gspn").save(tmp_path / "adapter")
    extras = dataclasses.replace(INT8, adapter=str(tmp_path / "adapter"))
    with pytest.raises(AdapterMismatch, match="was distilled from another model"):
        load_model(str(folder), device="cpu", extras=extras)


@pytest.mark.usefixtures("package")
def test_the_card_names_the_weight_format_and_differs_with_it(folder):
    plain, kept = find_card(str(folder), device="cpu"), find_card(str(folder), device="cpu", extras=INT8)
    assert kept.title == "small, int8"
    assert kept.fingerprint != plain.fingerprint
    saved = plain.shapes.unet.weight_bytes(2) - kept.shapes.unet.weight_bytes(2)
    linear = kept.shapes.unet.quantized
    assert saved == 2 * linear.numbers - linear.kept_bytes > 0


@pytest.mark.usefixtures("package")
def test_a_refiners_linear_layers_are_kept_and_counted_too(folder, tmp_path):
    write_random_refiner(tmp_path / "refiner", "small")
    extras = dataclasses.replace(INT8, refiner=str(tmp_path / "refiner"))
    model = load_model(str(folder), device="cpu", extras=extras)
    kept = [layer for layer in layers_of(model.refiner).values() if not is_kept_whole(layer)]
    counted = model.card.shapes.refiner.quantized
    assert (counted.layers, counted.numbers) == (len(kept), sum(layer.weight.numel() for layer in kept))


def test_a_missing_package_is_named_with_the_command_that_installs_it(pretend):
    pretend(None)
    with pytest.raises(
        ModelUnavailable, match=r"int8 need the package torchao.*`pip install 'torchao>=0.15'`"
    ):
        find_card("world", extras=INT8)


def test_an_old_package_is_named_with_both_versions(pretend):
    pretend("0.7.2")
    with pytest.raises(ModelUnavailable, match=r"need torchao 0.15 or newer, got 0.7.2; install"):
        find_scheme("int8")
    pretend("0.18.0+cpu")
    assert find_scheme("int8").name == "int8"


def test_an_unknown_name_is_refused_with_the_valid_ones():
    with pytest.raises(ModelUnavailable, match="must be one of int8, float8, nf4, got 'int3'"):
        find_card("world", extras=Extras(quantize="int3"))


def test_what_cannot_run_here_names_what_can():
    with pytest.raises(ModelUnavailable, match="nf4 run on a GPU only; use --quantize int8"):
        scheme_dtype(SCHEMES["nf4"], "auto", on_gpu=False)
    with pytest.raises(ModelUnavailable, match="with bfloat16, got --dtype float32; omit --dtype"):
        scheme_dtype(SCHEMES["int8"], "float32", on_gpu=True)
    assert scheme_dtype(SCHEMES["int8"], "auto", on_gpu=False) == "bfloat16"
    assert scheme_dtype(SCHEMES["nf4"], "float16", on_gpu=True) == "float16"


@pytest.mark.parametrize(("part", "counted"), [("unet", SDXL_LINEAR), ("refiner", REFINER_LINEAR)])
def test_sdxls_linear_layers_are_counted_as_its_configuration_has_them(part, counted):
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(dict(getattr(LAYOUTS["full"], part)))
    inside = [layer for name, layer in layers_of(unet).items() if "attentions." in name]
    assert counted.layers == len(inside)
    assert counted.numbers == sum(layer.weight.numel() for layer in inside)
    assert counted.rows == sum(layer.out_features for layer in inside)


def test_a_checkpoint_in_one_file_has_the_same_linear_layers_as_its_folder(folder, tmp_path):
    path = tmp_path / "small.safetensors"
    save_file(original_tensors(load_model(str(folder), device="cpu").pipeline), path)
    assert linear_layers(path) == linear_layers(folder / "unet")


# SDXL's numbers, quantised and not, for arithmetic alone.
PLAIN = SDXL_SHAPES


def quantised(name):
    kept = SCHEMES[name].quantized(SDXL_LINEAR)
    return dataclasses.replace(PLAIN, unet=dataclasses.replace(PLAIN.unet, quantized=kept))


def work(target):
    return Work(height=target, width=target, mixer="neighborhood", calls=30.0, tile_px=1024)


@pytest.mark.parametrize(("name", "gigabytes"), [("int8", 2.93), ("float8", 2.93), ("nf4", 1.86)])
def test_the_planner_counts_the_bytes_that_are_kept(name, gigabytes):
    assert PLAIN.unet.weight_bytes(2) == pytest.approx(5.13e9, rel=0.01)
    assert quantised(name).unet.weight_bytes(2) == pytest.approx(gigabytes * 1e9, rel=0.01)
    machine = Machine(device="cuda", budget_bytes=int(24e9), base_bytes=0, host_bytes=int(64e9))
    plain, kept = (
        predict(work(1024), MemoryOptions(), shapes, machine) for shapes in (PLAIN, quantised(name))
    )
    saved = PLAIN.unet.weight_bytes(2) - quantised(name).unet.weight_bytes(2)
    # A layer's weights in full are there while it works.
    assert 0.95 * saved < plain.peak_bytes - kept.peak_bytes <= saved


@pytest.mark.parametrize("name", SCHEMES)
def test_weights_that_are_quantised_are_not_narrowed_again(name):
    cpu = Machine(device="cpu", budget_bytes=int(1e9), base_bytes=0)
    assert fit(work(2048), quantised(name), cpu) is None
    saving, seen = MemoryOptions(), []
    while (found := cheaper(saving, work(2048), quantised(name), cpu, "steps")) is not None:
        saving, choice = found
        seen.append(choice)
    assert seen and "float8_storage" not in seen


def test_layers_that_may_not_move_alone_move_with_their_unet():
    small = Machine(device="cuda", budget_bytes=int(5e9), base_bytes=0, host_bytes=int(64e9))
    assert fit(work(4096), quantised("int8"), small).choices.residency == "group"
    found = fit(work(4096), quantised("nf4"), small)
    assert found is None or found.choices.residency == "model"
    saving, seen = MemoryOptions(), []
    while (found := cheaper(saving, work(4096), quantised("nf4"), small, "steps")) is not None:
        saving, choice = found
        seen.append(saving.residency)
    assert "model" in seen and "group" not in seen


@pytest.mark.usefixtures("package")
def test_the_bench_draws_both_by_turns_and_weighs_the_unets(folder, capsys):
    asked = ["quantize", "--model", str(folder), "--mixers", "attention", "--repeats", "1", "--prompts", "1"]
    assert bench([*asked, "--steps", "2"]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    kept, full = ([row for row in rows if row[1:2] == [name]][0] for name in ("int8", "bfloat16"))
    assert 0 < float(kept[2]) < float(full[2])
    assert 20 < float(kept[5]) < 60 and len(full) == 5
