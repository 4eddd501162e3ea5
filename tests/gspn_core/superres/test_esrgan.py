"""Upscaler models of the ESRGAN family: their folder, pictures, tiles, stages, keys and prices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gspn_core.engine import Engine
from gspn_core.errors import BadSetting, ModelUnavailable, NotFinite, Stopped
from gspn_core.events import StageDone, TileDone
from gspn_core.models.catalog import Extras, find_card
from gspn_core.models.loading import load_model
from gspn_core.models.upscalers import find_upscalers
from gspn_core.planning.plan import make_plan, redo
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import Machine
from gspn_core.planning.upscalers import UPSCALER_TILE_PX, UpscalerFile, pass_cost
from gspn_core.settings import Settings, parse_overrides
from gspn_core.superres import esrgan
from gspn_core.superres.esrgan import TILE_PX, EsrganModels, load_upscaler
from tests.gspn_core.superres.upscaler_files import (
    compact_weights,
    need_spandrel,
    old_layout,
    rrdb_weights,
    write_upscalers,
)

CPU = torch.device("cpu")
ASKED = Settings(prompt="a hill", seed=1, target=128, ladder="esrgan:128", num_inference_steps=1)
FILES = tuple(
    UpscalerFile(name=name, digest=digest, scale=4, parameters=1000, px_elements=800, px_operations=4e6)
    for name, digest in (("one", "a"), ("two", "b"))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    need_spandrel()
    return write_upscalers(tmp_path_factory.mktemp("upscalers"))


@pytest.fixture
def engine(tiny_model, folder) -> Engine:
    files, found, _ = find_upscalers(str(folder))
    card = dataclasses.replace(tiny_model.card, upscalers=found)
    return Engine(dataclasses.replace(tiny_model, card=card, upscalers=EsrganModels(files, CPU)))


def picture(width: int, height: int) -> Image.Image:
    coarse = np.random.default_rng(3).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def enlarged(models: EsrganModels, name: str, image: Image.Image, height: int, width: int):
    work, tiles = models.enlarge(name, image, height, width), []
    while True:
        try:
            tiles.append(next(work))
        except StopIteration as done:
            return done.value, tiles


def test_a_folder_is_read_from_the_headers_of_its_files(folder, tmp_path):
    save_file({"unet.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    (tmp_path / "old.pth").write_bytes(b"pickle")
    save_file(rrdb_weights(), tmp_path / "one.safetensors")
    files, found, others = find_upscalers(str(tmp_path))
    assert list(files) == ["one"] and [upscaler.scale for upscaler in found] == [4]
    assert "old.pth is a pickled file" in others[0] and "save its weights as .safetensors" in others[0]
    assert others[1] == "other.safetensors is not an upscaler model of the ESRGAN family; it is left out."
    _, known, none = find_upscalers(str(folder))
    assert [(one.name, one.scale) for one in known] == [("compact-x2", 2), ("rrdb-x4", 4), ("rrdb-z2", 2)]
    assert none == () and len({one.digest for one in known}) == 3


@pytest.mark.parametrize(
    "tensors",
    [rrdb_weights(4), rrdb_weights(2), old_layout(rrdb_weights(4)), compact_weights(2), compact_weights(4)],
    ids=["rrdb-4", "rrdb-2", "rrdb-old", "compact-2", "compact-4"],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_scale_in_a_header_is_the_one_that_spandrel_finds(tensors, prefix, tmp_path):
    need_spandrel()
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, tmp_path / "a.safetensors")
    _, (found,), _ = find_upscalers(str(tmp_path))
    model = load_upscaler(tmp_path / "a.safetensors", CPU)
    assert found.scale == model.scale
    assert found.parameters == sum(tensor.numel() for tensor in tensors.values())
    assert not any(weight.requires_grad for weight in model.model.parameters())


def test_both_layouts_of_the_same_weights_draw_the_same_picture(tmp_path):
    need_spandrel()
    save_file(rrdb_weights(), tmp_path / "new.safetensors")
    save_file(old_layout(rrdb_weights()), tmp_path / "old.safetensors")
    new, old = (load_upscaler(tmp_path / f"{name}.safetensors", CPU) for name in ("new", "old"))
    sample = torch.rand(1, 3, 12, 16)
    torch.testing.assert_close(new(sample), old(sample))


@pytest.mark.parametrize("name", ["compact-x2", "rrdb-x4", "rrdb-z2"])
@pytest.mark.parametrize(("height", "width"), [(128, 96), (66, 50)])
def test_a_picture_has_the_size_of_the_stage_whatever_the_scale(folder, name, height, width):
    models = EsrganModels(find_upscalers(str(folder))[0], CPU)
    drawn, tiles = enlarged(models, name, picture(25, 33), height, width)
    assert drawn.size == (width, height) and drawn.mode == "RGB" and tiles == [(1, 1)]


def test_tiles_leave_no_seam(folder, monkeypatch):
    models = EsrganModels(find_upscalers(str(folder))[0], CPU)
    whole, _ = enlarged(models, "rrdb-x4", picture(96, 64), 256, 384)
    monkeypatch.setattr(esrgan, "TILE_PX", 48)
    tiled, tiles = enlarged(models, "rrdb-x4", picture(96, 64), 256, 384)
    assert tiles[-1] == (6, 6)
    apart = np.abs(np.asarray(whole, dtype=int) - np.asarray(tiled, dtype=int))
    assert apart.mean() < 1 and apart.max() <= 32
    jumps = np.abs(np.diff(np.asarray(tiled, dtype=int), axis=1)).mean(axis=(0, 2))
    smooth = np.abs(np.diff(np.asarray(whole, dtype=int), axis=1)).mean(axis=(0, 2))
    assert np.abs(jumps - smooth).max() < 1


def test_a_stage_is_drawn_by_the_model_that_is_named(engine):
    first = engine.plan(ASKED)
    assert first.settings.upscaler == "compact-x2"
    images, kinds = [], set()
    for event in engine.run(first):
        kinds.add(type(event))
        if isinstance(event, StageDone):
            images.append(event.image)
    assert [stage.kind.name for stage in first.stages] == ["generate", "esrgan"] and TileDone in kinds
    assert images[1].size == (128, 128)
    assert images[1] != images[0].resize((128, 128), Image.Resampling.LANCZOS)
    other = engine.plan(dataclasses.replace(ASKED, upscaler="rrdb-x4"))
    drawn = [e.image for e in engine.run(other, finished=images[:1]) if isinstance(e, StageDone)]
    assert other.stages[1].key != first.stages[1].key and drawn[0] != images[1]
    again = [e.image for e in engine.run(first, finished=images[:1]) if isinstance(e, StageDone)]
    assert again == images[1:]


def test_a_stage_may_have_a_model_of_its_own(engine):
    own = dataclasses.replace(ASKED, overrides=parse_overrides("128.upscaler=rrdb-x4"))
    stage = engine.plan(own).stages[1]
    assert stage.settings.upscaler == "rrdb-x4"
    named = engine.plan(dataclasses.replace(ASKED, upscaler="rrdb-x4"))
    assert stage.key == named.stages[1].key
    with pytest.raises(BadSetting, match=r"128 px \(esrgan\) has no guidance_scale"):
        engine.plan(dataclasses.replace(ASKED, overrides=parse_overrides("128.guidance_scale=2")))


def test_a_stop_is_seen_before_a_tile(engine):
    plan = engine.plan(ASKED)
    finished = [next(e.image for e in engine.run(plan) if isinstance(e, StageDone))]
    with pytest.raises(Stopped):
        list(engine.run(plan, lambda: True, finished=finished))


def test_values_that_are_not_numbers_are_refused(tmp_path):
    need_spandrel()
    broken = compact_weights()
    broken["body.0.bias"][:] = torch.nan
    save_file(broken, tmp_path / "broken.safetensors")
    models = EsrganModels({"broken": tmp_path / "broken.safetensors"}, CPU)
    with pytest.raises(NotFinite, match="upscaler model broken draws values that are not numbers"):
        enlarged(models, "broken", picture(16, 16), 64, 64)


def test_a_file_that_spandrel_does_not_read_is_refused_in_a_sentence(tmp_path):
    need_spandrel()
    tensors = rrdb_weights()
    del tensors["conv_hr.weight"]
    save_file(tensors, tmp_path / "cut.safetensors")
    with pytest.raises(ModelUnavailable, match=r"cut.safetensors cannot be loaded as an upscaler model"):
        load_upscaler(tmp_path / "cut.safetensors", CPU)


def test_a_loaded_model_has_the_folders_models_and_says_what_it_left_out(tmp_path):
    need_spandrel()
    save_file(rrdb_weights(), tmp_path / "one.safetensors")
    (tmp_path / "old.pth").write_bytes(b"pickle")
    model = load_model("world", device="cpu", extras=Extras(upscalers=str(tmp_path)))
    assert [upscaler.name for upscaler in model.card.upscalers] == ["one"]
    assert list(model.upscalers.files) == ["one"] and "old.pth" in model.notes[0]
    # Pictures of other stages stay valid when the folder changes.
    assert model.card.fingerprint == find_card("world", device="cpu").fingerprint


def test_without_spandrel_or_without_a_model_the_folder_is_refused(monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        patched.setattr("gspn_core.models.upscalers.importlib.util.find_spec", lambda _name: None)
        with pytest.raises(
            ModelUnavailable, match="which is not installed; install it with `pip install --no"
        ):
            find_card("world", extras=Extras(upscalers=str(tmp_path)))
    monkeypatch.setattr("gspn_core.models.upscalers.importlib.util.find_spec", lambda _name: object())
    with pytest.raises(ModelUnavailable, match=r"no upscaler model of the ESRGAN family, as .safetensors"):
        find_card("world", extras=Extras(upscalers=str(tmp_path)))
    (tmp_path / "RealESRGAN_x4plus.pth").write_bytes(b"pickle")
    with pytest.raises(ModelUnavailable, match=r"x4plus.pth is a pickled file.* save its weights as .saf"):
        find_card("world", extras=Extras(upscalers=str(tmp_path)))
    with pytest.raises(ModelUnavailable, match="is not a folder; give one with --upscalers"):
        find_card("world", extras=Extras(upscalers=str(tmp_path / "none")))


def test_a_model_without_a_folder_refuses_the_kind_with_what_to_start_with(card):
    with pytest.raises(
        BadSetting,
        match=r"no upscaler model for esrgan:128; start with --upscalers DIR, or write 128 or lanczos:128",
    ):
        make_plan(ASKED, card)


def test_a_model_that_is_not_in_the_folder_is_refused_with_those_that_are(card):
    card = dataclasses.replace(card, upscalers=FILES)
    with pytest.raises(BadSetting, match=r"no model 'three' here; there are one, two"):
        make_plan(dataclasses.replace(ASKED, upscaler="three"), card)


def test_a_file_of_another_content_has_another_key(card):
    one = make_plan(ASKED, dataclasses.replace(card, upscalers=FILES))
    changed = (dataclasses.replace(FILES[0], digest="c"), FILES[1])
    other = make_plan(ASKED, dataclasses.replace(card, upscalers=changed))
    assert one.stages[0].key == other.stages[0].key and one.stages[1].key != other.stages[1].key
    plain = dataclasses.replace(ASKED, ladder="")
    assert (
        make_plan(plain, card).stages[1].key
        == make_plan(plain, dataclasses.replace(card, upscalers=FILES)).stages[1].key
    )


def test_what_was_drawn_by_a_model_keeps_it_when_the_run_goes_on_with_another(card):
    card = dataclasses.replace(card, upscalers=FILES, max_target_px=512)
    made = make_plan(dataclasses.replace(ASKED, target=256, ladder="esrgan:128 esrgan:256"), card)
    wanted = dataclasses.replace(made.settings, upscaler="two")
    again = make_plan(redo(made, 2, wanted, lambda settings: make_plan(settings, card)), card)
    assert [stage.settings.upscaler for stage in again.stages[1:]] == ["one", "two"]
    assert again.stages[1].key == made.stages[1].key


def test_it_is_priced(sized_model):
    card = dataclasses.replace(sized_model.card, upscalers=FILES)
    timing = StageTiming(
        mixer=card.mixers[0],
        height=128,
        width=128,
        encode_seconds=1.0,
        step_seconds=1.0,
        decode_seconds=1.0,
    )
    machine = Machine(device="cpu", budget_bytes=2**40, base_bytes=0, timings=(timing,))
    stage = make_plan(ASKED, card, machine).stages[1]
    assert stage.peak_bytes > 4 * 800 * 64 * 64 and stage.seconds > 0 and stage.fits
    untimed = make_plan(ASKED, card, dataclasses.replace(machine, timings=())).stages[1]
    assert untimed.seconds is None and untimed.peak_bytes == stage.peak_bytes
    tight = make_plan(ASKED, card, dataclasses.replace(machine, budget_bytes=1000))
    assert not tight.stages[1].fits
    assert UPSCALER_TILE_PX == TILE_PX


def test_memory_is_that_of_a_tile_and_time_that_of_all_tiles():
    small, large = (pass_cost(FILES[0], (px, px), (4 * px, 4 * px)) for px in (192, 768))
    assert large[0] - small[0] < 41 * 16 * (768**2 - 192**2)
    assert large[1] == pytest.approx(25 * small[1])
