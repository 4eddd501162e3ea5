"""The super-resolution network, its folder, its tiles, and the stage that it draws."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from gspn_core.engine import Engine
from gspn_core.errors import BadSetting, ModelUnavailable, Stopped
from gspn_core.events import StageDone, TileDone
from gspn_core.planning.costs import SUPERRES_TILE_PX
from gspn_core.planning.plan import make_plan
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import Machine
from gspn_core.settings import Settings
from gspn_core.superres import upscaler as tiling
from gspn_core.superres.network import SCALE, NetworkConfig, SuperResolution, noise_for
from gspn_core.superres.upscaler import Upscaler
from gspn_core.superres.weights import load_network, save_network

SMALL = NetworkConfig(channels=8, inner_channels=16, fine_channels=(8, 8), blocks=1, inner_blocks=1)


def network(seed: int = 0) -> SuperResolution:
    """A network with weights everywhere, so that every part of it shows in the picture."""
    torch.manual_seed(seed)
    made = SuperResolution(SMALL)
    for weight in made.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
    return made.eval().requires_grad_(False)


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def enlarged(upscaler: Upscaler, image: Image.Image, height: int, width: int, seed: int = 1):
    work = upscaler.enlarge(image, height, width, torch.Generator().manual_seed(seed))
    tiles = []
    while True:
        try:
            tiles.append(next(work))
        except StopIteration as done:
            return done.value, tiles


def test_an_untrained_network_enlarges_as_bicubic_does():
    image = torch.rand(1, 3, 16, 24) * 2 - 1
    drawn = SuperResolution(SMALL)(image, noise_for(16, 24))
    torch.testing.assert_close(drawn, torch.nn.functional.interpolate(image, scale_factor=4, mode="bicubic"))


def test_the_mixers_see_the_far_corner():
    image, noise = torch.zeros(1, 3, 32, 32), noise_for(32, 32, torch.Generator().manual_seed(0))
    changed = image.clone()
    changed[..., 0, 0] = 1
    apart = (network()(changed, noise) - network()(image, noise)).abs()[0].amax(0)
    assert apart[-4:, -4:].max() > 0


@pytest.mark.parametrize(
    ("width", "height", "wide", "high"), [(32, 48, 128, 192), (33, 31, 132, 124), (32, 32, 64, 64)]
)
def test_a_picture_has_the_size_asked_for_whatever_its_own(width, height, wide, high):
    drawn, tiles = enlarged(Upscaler(network()), picture(width, height), high, wide)
    assert drawn.size == (wide, high) and drawn.mode == "RGB" and tiles == [(1, 1)]


def test_the_noise_follows_the_seed():
    upscaler, image = Upscaler(network()), picture(32, 32)
    first, second, other = (enlarged(upscaler, image, 128, 128, seed)[0] for seed in (1, 1, 2))
    assert first == second and first != other


def test_tiles_leave_no_seam(monkeypatch):
    image = picture(96, 64)
    plain = SuperResolution(SMALL).eval().requires_grad_(False)
    whole, _ = enlarged(Upscaler(plain), image, 256, 384)
    monkeypatch.setattr(tiling, "TILE_PX", 48)
    monkeypatch.setattr(tiling, "OVERLAP_PX", 16)
    tiled, tiles = enlarged(Upscaler(plain), image, 256, 384)
    assert tiles[-1] == (6, 6) and len(tiles) == 6
    # Bicubic reads two pixels over a tile's edge, where the tile counts for little.
    apart = np.abs(np.asarray(whole, dtype=int) - np.asarray(tiled, dtype=int))
    assert apart.max() <= 6 and apart.mean() < 0.1
    mixed, _ = enlarged(Upscaler(network()), image, 256, 384)
    jumps = np.abs(np.diff(np.asarray(mixed, dtype=int), axis=1)).mean(axis=(0, 2))
    assert jumps.max() < 4 * np.median(jumps)


def test_a_folder_brings_the_network_back(tmp_path):
    made = network()
    save_network(made, tmp_path / "superres")
    found = load_network(tmp_path / "superres")
    image, noise = torch.rand(1, 3, 16, 16), noise_for(16, 16)
    torch.testing.assert_close(found(image, noise), made(image, noise), atol=5e-3, rtol=0)
    assert found.config == SMALL and not any(weight.requires_grad for weight in found.parameters())


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("config.json", json.dumps({"format": "other"}).encode()),
        ("config.json", None),
        ("model.safetensors", b"123"),
        ("model.safetensors", None),
    ],
)
def test_a_damaged_folder_is_refused_in_a_sentence(tmp_path, file, content):
    save_network(network(), tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"super-resolution network"):
        load_network(tmp_path)


@pytest.fixture
def engine(tiny_model) -> Engine:
    card = dataclasses.replace(tiny_model.card, has_superres=True)
    return Engine(dataclasses.replace(tiny_model, card=card, superres=Upscaler(network())))


def test_a_stage_of_a_run_is_drawn_by_it_and_gone_on_from(engine):
    asked = Settings(prompt="a hill", seed=1, target=256, ladder="sr:128 256", num_inference_steps=2)
    plan = engine.plan(asked)
    events = list(engine.run(plan))
    images = [event.image for event in events if isinstance(event, StageDone)]
    assert [stage.kind.name for stage in plan.stages] == ["generate", "sr", "upscale"]
    assert images[1].size == (128, 128)
    assert images[1] != images[0].resize((128, 128), Image.Resampling.LANCZOS)
    assert TileDone in {type(event) for event in events}
    again = [e.image for e in engine.run(plan, finished=images[:1]) if isinstance(e, StageDone)]
    assert again == images[1:]
    other = engine.plan(dataclasses.replace(asked, seed=2))
    assert other.stages[1].key != plan.stages[1].key


def test_a_stop_is_seen_before_a_tile(engine):
    plan = engine.plan(Settings(prompt="a hill", seed=1, target=128, ladder="sr:128", num_inference_steps=1))
    finished = [next(e.image for e in engine.run(plan) if isinstance(e, StageDone))]
    stopped = engine.run(plan, lambda: True, finished=finished)
    with pytest.raises(Stopped):
        list(stopped)


def test_a_model_without_one_refuses_it_with_what_to_write(tiny_model):
    with pytest.raises(BadSetting, match=r"no super-resolution network for sr:128; write 128 or lanczos:128"):
        Engine(tiny_model).plan(Settings(prompt="a hill", target=128, ladder="sr:128"))


def test_a_ratio_of_eight_is_refused_with_the_size_to_put_before_it(card):
    card = dataclasses.replace(card, has_superres=True, max_target_px=512)
    with pytest.raises(BadSetting, match="sr is 2 or 4 times as large .* got 512 px after 64; put 256"):
        make_plan(Settings(prompt="a", target=512, ladder="sr:512"), card)


def test_it_is_priced(sized_model):
    card = dataclasses.replace(sized_model.card, has_superres=True)
    engine = Engine(
        dataclasses.replace(sized_model, card=card, superres=Upscaler(network())), memory_bytes=2**40
    )
    stage = engine.plan(Settings(prompt="a hill", target=128, ladder="sr:128")).stages[1]
    assert stage.peak_bytes and stage.seconds is None and stage.fits
    assert SUPERRES_TILE_PX == SCALE * tiling.TILE_PX
    tight = Engine(engine.model, memory_bytes=1)
    assert not tight.plan(Settings(prompt="a hill", target=128, ladder="sr:128")).stages[1].fits


@pytest.mark.parametrize(("vae_bytes", "seconds"), [(4, 0.08), (3, 0.34), (2, 0.34)])
def test_its_seconds_are_a_share_of_the_decoders(sized_model, vae_bytes, seconds):
    timing = StageTiming(
        mixer="gspn", height=128, width=128, encode_seconds=1.0, step_seconds=1.0, decode_seconds=1.0
    )
    machine = Machine(device="cpu", budget_bytes=2**40, base_bytes=0, vae_bytes=vae_bytes, timings=(timing,))
    card = dataclasses.replace(sized_model.card, has_superres=True, mixers=("gspn",))
    asked = Settings(prompt="a hill", target=128, ladder="sr:128")
    assert make_plan(asked, card, machine).stages[1].seconds == pytest.approx(seconds)
