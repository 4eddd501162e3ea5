"""A control in every stage that the base model draws: bytes, keys, mixers, batches, tiles, notices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image

from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.cascade.offload import sampling_as
from gspn_core.controls.steered import hint
from gspn_core.engine import Engine
from gspn_core.errors import BadSetting
from gspn_core.events import PictureDone, StageDone
from gspn_core.images.load import reference_of
from gspn_core.planning.types import MemoryOptions, Size
from gspn_core.settings import Settings, parse_overrides


def drawing(width: int = 64, height: int = 64, seed: int = 3) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


ASKED = Settings(
    prompt="a hill under a blue sky",
    seed=1,
    target=64,
    num_inference_steps=4,
    guidance_scale=3.0,
    control="controlnet",
    control_image=reference_of(drawing()),
)
WITHOUT = dataclasses.replace(ASKED, control="", control_image="")
CHANGES = {
    "control": "t2i-adapter",
    "control_scale": 0.5,
    "control_start": 0.5,
    "control_end": 0.5,
    "control_image": reference_of(drawing(seed=4)),
}


@pytest.fixture(scope="module")
def engine(model):
    return Engine(model)


def drawn(
    engine: Engine, settings: Settings, image: Image.Image | None = None, **options
) -> list[Image.Image]:
    events = engine.run(engine.plan(settings), previews=False, control_image=image or drawing(), **options)
    return [event.image for event in events if isinstance(event, StageDone)]


def test_each_of_its_settings_changes_the_picture_and_the_key(engine):
    first, key = drawn(engine, ASKED), engine.plan(ASKED).stages[0].key
    assert drawn(engine, ASKED) == first != drawn(engine, WITHOUT)
    for name, value in CHANGES.items():
        other = dataclasses.replace(ASKED, **{name: value})
        assert engine.plan(other).stages[0].key != key, name
        image = drawing(seed=4) if name == "control_image" else None
        assert drawn(engine, other, image) != first, name


def test_at_scale_0_it_is_the_very_run_without(engine):
    off = dataclasses.replace(ASKED, control_scale=0.0)
    plan = engine.plan(off)
    assert [stage.key for stage in plan.stages] == [stage.key for stage in engine.plan(WITHOUT).stages]
    assert plan.pictures == {}
    assert drawn(engine, off)[0].tobytes() == drawn(engine, WITHOUT)[0].tobytes()


def test_a_control_type_counts_for_a_network_of_several_kinds_alone(engine):
    union = dataclasses.replace(ASKED, control="controlnet-union")
    for asked, differs in ((ASKED, False), (union, True)):
        depth = dataclasses.replace(asked, control_type="depth")
        assert (engine.plan(depth).stages[0].key != engine.plan(asked).stages[0].key) == differs
    assert drawn(engine, union) != drawn(engine, dataclasses.replace(union, control_type="depth"))


@pytest.mark.parametrize("name", ["controlnet", "t2i-adapter"])
@pytest.mark.parametrize("ladder", ["128", "tiles:128"])
def test_it_steers_later_stages_at_their_own_size(name, ladder, engine):
    asked = dataclasses.replace(ASKED, control=name, target=128, ladder=ladder, upscale_strength=0.5)
    base, last = drawn(engine, asked)
    own = dataclasses.replace(asked, overrides=parse_overrides("128.control_scale=0"))
    same, other = drawn(engine, own)
    assert base == same and last != other
    plan = engine.plan(own)
    assert [stage.condition is not None for stage in plan.stages] == [True, False]
    assert plan.pictures == {"control_image": ASKED.control_image}


def test_a_tile_reads_its_own_part_of_the_picture(engine, monkeypatch):
    seen = []
    forward = ControlNetModel.forward

    def watched(self, sample, *args, controlnet_cond, **kwargs):
        seen.append((sample.shape[2:], controlnet_cond.shape[2:], controlnet_cond))
        return forward(self, sample, *args, controlnet_cond=controlnet_cond, **kwargs)

    monkeypatch.setattr(ControlNetModel, "forward", watched)
    image = drawing(128, 128)
    asked = dataclasses.replace(
        ASKED,
        control_image=reference_of(image),
        target=128,
        ladder="tiles:128",
        tile_share=1.0,
        overrides=parse_overrides("64.control_scale=0"),
    )
    drawn(engine, asked, image)
    assert len(seen) > 1
    for latents, px, _ in seen:
        assert [8 * side for side in latents] == list(px)
        assert max(px) < 128
    corners = {tuple(picture[0, :, 0, 0].tolist()) for *_, picture in seen}
    assert len(corners) > 1


def test_a_picture_of_another_size_is_cropped_and_resized_to_the_stage():
    left = Image.new("RGB", (640, 480), "white")
    left.paste("black", (0, 0, 80, 480))
    sample = hint(left.crop((80, 0, 560, 480)), Size(64, 64), {})
    assert sample.shape == (1, 3, 64, 64) and sample.min() == 1
    grey = hint(left, Size(32, 64), {"in_channels": 1})
    assert grey.shape == (1, 1, 32, 64) and grey[..., 0].max() < 0.1


def test_a_run_crops_the_picture_to_its_aspect(engine):
    wide = Image.new("RGB", (192, 64))
    wide.paste(drawing(), (64, 0))
    asked = dataclasses.replace(ASKED, control_image=reference_of(wide))
    assert drawn(engine, asked, wide) == drawn(engine, ASKED)


def test_gspn_in_place_of_the_unets_attention_leaves_the_networks_own(model, monkeypatch):
    adapter = GSPNAdapter.construct_for(model.pipeline.unet).train(False)
    adapter.trained = True
    card = dataclasses.replace(model.card, mixers=("gspn", "attention"))
    engine = Engine(dataclasses.replace(model, card=card, adapters={"gspn": adapter}))
    processors = []
    forward = ControlNetModel.forward

    def watched(self, *args, **kwargs):
        processors.append({type(one).__name__ for one in self.attn_processors.values()})
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(ControlNetModel, "forward", watched)
    gspn = dataclasses.replace(ASKED, mixer="gspn")
    one = drawn(engine, gspn)
    assert processors and all(used == {"AttnProcessor2_0"} for used in processors)
    assert one != drawn(engine, dataclasses.replace(WITHOUT, mixer="gspn"))
    assert one != drawn(engine, dataclasses.replace(ASKED, mixer="attention"))


def test_it_is_evaluated_in_its_share_of_the_steps_alone(engine, monkeypatch):
    calls = []
    forward = ControlNetModel.forward
    monkeypatch.setattr(
        ControlNetModel, "forward", lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs)
    )
    drawn(engine, dataclasses.replace(ASKED, control_start=0.25, control_end=0.75))
    assert len(calls) == 2


def test_pictures_of_a_batch_are_what_their_seeds_give_alone(engine):
    plan = engine.plan(ASKED)
    events = list(engine.run(plan, previews=False, more_seeds=(2,), control_image=drawing()))
    (other,) = (event.done.image for event in events if isinstance(event, PictureDone))
    (alone,) = drawn(engine, dataclasses.replace(ASKED, seed=2))
    difference = np.abs(np.asarray(other, dtype=int) - np.asarray(alone, dtype=int))
    assert difference.max() <= 1


def test_memory_options_draw_the_same(engine, model):
    stage = engine.plan(ASKED).stages[0]
    network = model.conditions.network(stage.condition.file)
    for residency in ("device", "model", "group"):
        with sampling_as(model, MemoryOptions(residency=residency), steering=network):
            assert network.device == torch.device("cpu")
    serial = dataclasses.replace(stage, choices=MemoryOptions(serial_guidance=True))
    plan = dataclasses.replace(engine.plan(ASKED), stages=(serial,))
    events = engine.run(plan, previews=False, control_image=drawing())
    (one,) = (event.image for event in events if isinstance(event, StageDone))
    difference = np.abs(np.asarray(one, dtype=int) - np.asarray(drawn(engine, ASKED)[0], dtype=int))
    assert difference.max() <= 1


def test_the_network_of_another_run_is_let_go(engine, model):
    drawn(engine, ASKED)
    held = model.conditions.held_bytes
    assert held == 4 * engine.plan(ASKED).stages[0].condition.file.parameters
    drawn(engine, WITHOUT)
    assert model.conditions.held_bytes == 0


def test_a_run_needs_the_very_picture(engine):
    with pytest.raises(BadSetting, match=r"control_image names 64x64-.* and none was given"):
        next(engine.run(engine.plan(ASKED)))
    with pytest.raises(BadSetting, match=r"and 64x64-.* was given; give that picture"):
        next(engine.run(engine.plan(ASKED), control_image=drawing(seed=9)))
