"""Fused weights are W + s·BA, whatever the layout, and afterwards the very bytes of before."""

import dataclasses
import warnings

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from gspn_core.backbones.lora import ENCODERS, UNET, Loras
from gspn_core.engine import Engine
from gspn_core.errors import BadSetting, NotFinite
from gspn_core.events import StageDone, StageStarted
from gspn_core.lora.keys import split_key
from gspn_core.planning.plan import make_plan
from gspn_core.settings import Settings
from tests.gspn_core.lora.conftest import ALPHA, PARTS, RANK

ASKED = Settings(prompt="a hill", seed=1, target=128, num_inference_steps=2, mixer="attention")


def weights_of(pipeline):
    return {
        (part, name): tensor.clone()
        for part in PARTS
        for name, tensor in getattr(pipeline, part).state_dict().items()
    }


def drawn(model, settings):
    engine = Engine(model)
    plan = engine.plan(settings)
    events = engine.run(plan, previews=False)
    return plan, [event.image for event in events if isinstance(event, StageDone)]


def planned(card, loras, **more):
    return make_plan(dataclasses.replace(ASKED, loras=loras, **more), card).stages[0]


@pytest.mark.parametrize("name", ["kohya", "diffusers"])
@pytest.mark.parametrize("weight", [1.0, -0.7])
def test_fused_weights_are_the_sum_of_the_formula(name, weight, lora_model, pairs):
    before = weights_of(lora_model.pipeline)
    stage = planned(lora_model.card, f"{name}:{weight}")
    with Loras(lora_model).fusing() as fusing:
        fusing.use(stage.loras, (*UNET, *ENCODERS), "attention")
        after = weights_of(lora_model.pipeline)
        layout = lora_model.pipeline.unet.conv_in.weight.stride()
    changed = set()
    for (part, path), (down, up) in pairs.items():
        W = before[part, f"{path}.weight"].double()
        BA = (up.flatten(1).double() @ down.flatten(1).double()).reshape(W.shape)
        expected = W + weight * (ALPHA / RANK) * BA
        torch.testing.assert_close(after[part, f"{path}.weight"].double(), expected, atol=1e-6, rtol=1e-6)
        changed.add((part, f"{path}.weight"))
    assert {key for key in before if not torch.equal(before[key], after[key])} == changed
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights_of(lora_model.pipeline).items())
    assert lora_model.pipeline.unet.conv_in.weight.stride() == layout


def test_kohyas_names_are_those_that_diffusers_converts(lora_model, folder):
    """diffusers' own conversion of the file names the same layers of the UNet."""
    unet = lora_model.pipeline.unet
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = StableDiffusionXLPipeline.lora_state_dict(
            load_file(folder / "kohya.safetensors"), unet_config=unet.config
        )[0]
    theirs = {split_key(key)[0].removeprefix("unet.") for key in converted if key.startswith("unet.")}
    found = Loras(lora_model)._match(planned(lora_model.card, "kohya:1").loras[0])
    assert theirs == {place.path for place in found.layers if place.part == "unet"}


def test_two_files_add_up_and_text_and_unet_are_changed_apart(lora_model):
    before = weights_of(lora_model.pipeline)
    both = planned(lora_model.card, "kohya:0.25, diffusers:0.5").loras
    one = planned(lora_model.card, "kohya:0.75").loras
    with Loras(lora_model).fusing() as fusing:
        fusing.use(both, UNET, "attention")
        two = weights_of(lora_model.pipeline)
        fusing.use(one, ENCODERS)
        text = weights_of(lora_model.pipeline)
        fusing.use(one, UNET, "attention")
        single = weights_of(lora_model.pipeline)
    for key, tensor in two.items():
        torch.testing.assert_close(tensor, single[key], atol=1e-5, rtol=1e-5)
    assert all(torch.equal(before[key], text[key]) for key in before if key[0] == "unet")
    assert all(torch.equal(before[key], single[key]) for key in before if key[0] != "unet")
    assert any(not torch.equal(before[key], text[key]) for key in before if key[0] == "text_encoder_2")


@pytest.mark.parametrize("mixer", ["gspn", "linear"])
def test_a_mixer_with_weights_of_its_own_leaves_self_attention_out_and_it_is_said(mixer, lora_model):
    before = weights_of(lora_model.pipeline)
    plan = Engine(lora_model).plan(dataclasses.replace(ASKED, loras="kohya:1", mixer=mixer))
    with Loras(lora_model).fusing() as fusing:
        fusing.use(plan.stages[0].loras, UNET, mixer)
        after = weights_of(lora_model.pipeline)
    changed = {name for part, name in before if not torch.equal(before[part, name], after[part, name])}
    assert changed and not any(".attn1." in name for name in changed)
    (notice,) = plan.notices
    assert "layers belong to the self-attention, which the" in notice and mixer in notice
    assert Engine(lora_model).plan(dataclasses.replace(ASKED, loras="kohya:1")).notices == ()


def test_a_picture_with_a_lora_differs_and_without_it_the_bytes_are_those_of_before(lora_model):
    _, plain = drawn(lora_model, ASKED)
    plan, drawn_with = drawn(lora_model, dataclasses.replace(ASKED, loras="kohya:1"))
    assert all(one.tobytes() != other.tobytes() for one, other in zip(plain, drawn_with, strict=True))
    _, again = drawn(lora_model, ASKED)
    assert [image.tobytes() for image in plain] == [image.tobytes() for image in again]
    _, tagged = drawn(lora_model, dataclasses.replace(ASKED, prompt="a hill <lora:kohya:1>"))
    assert [image.tobytes() for image in tagged] == [image.tobytes() for image in drawn_with]
    assert plan.settings.loras == "kohya:1"


def test_weights_come_back_when_a_run_ends_early_or_fails(lora_model):
    before = weights_of(lora_model.pipeline)
    engine = Engine(lora_model)
    plan = engine.plan(dataclasses.replace(ASKED, loras="kohya:1"))
    events = engine.run(plan, previews=False)
    for event in events:
        if isinstance(event, StageStarted):
            break
    assert any(
        not torch.equal(before[key], tensor) for key, tensor in weights_of(lora_model.pipeline).items()
    )
    events.close()
    assert all(torch.equal(before[key], tensor) for key, tensor in weights_of(lora_model.pipeline).items())


def test_one_stage_alone_can_have_a_lora(lora_model):
    settings = dataclasses.replace(ASKED, overrides="128.loras=kohya:1")
    _, plain = drawn(lora_model, ASKED)
    plan, images = drawn(lora_model, settings)
    assert [len(stage.loras) for stage in plan.stages] == [0, 1]
    assert images[0].tobytes() == plain[0].tobytes() and images[1].tobytes() != plain[1].tobytes()


def test_values_that_are_not_numbers_are_refused_and_nothing_stays_changed(lora_model, folder):
    before = weights_of(lora_model.pipeline)
    tensors = load_file(folder / "kohya.safetensors")
    name = next(
        key for key in sorted(tensors, reverse=True) if key.endswith("lora_up.weight") and "unet" in key
    )
    tensors[name][0, 0] = float("nan")
    save_file(tensors, folder / "broken.safetensors")
    engine = Engine(lora_model)
    with pytest.raises(NotFinite, match=r"LoRA broken gives weights that are not finite numbers"):
        list(engine.run(engine.plan(dataclasses.replace(ASKED, loras="broken:1")), previews=False))
    assert all(torch.equal(before[key], tensor) for key, tensor in weights_of(lora_model.pipeline).items())


def test_unknown_keys_are_counted_and_said_and_other_shapes_refused(lora_model, folder):
    tensors = load_file(folder / "kohya.safetensors")
    save_file(
        tensors | {"lora_unet_nowhere.lora_down.weight": torch.zeros(2, 3)}, folder / "more.safetensors"
    )
    (notice,) = Engine(lora_model).plan(dataclasses.replace(ASKED, loras="more:1")).notices
    assert "LoRA more: 1 of " in notice and "lora_unet_nowhere" in notice
    name = "lora_te1_text_model_encoder_layers_0_mlp_fc1"
    wrong = {f"{name}.lora_down.weight": torch.zeros(2, 9), f"{name}.lora_up.weight": torch.zeros(32, 2)}
    save_file(tensors | wrong, folder / "wide.safetensors")
    with pytest.raises(BadSetting, match="wide was made for another model: 1 of its layers"):
        Engine(lora_model).plan(dataclasses.replace(ASKED, loras="wide:1"))
    nowhere = {
        "lora_unet_a.lora_down.weight": torch.zeros(2, 3),
        "lora_unet_a.lora_up.weight": torch.zeros(3, 2),
    }
    save_file(nowhere, folder / "nowhere.safetensors")
    with pytest.raises(BadSetting, match="nowhere has no layer of The tiny model"):
        Engine(lora_model).plan(dataclasses.replace(ASKED, loras="nowhere:1"))


def test_a_file_that_changes_between_plan_and_run_is_refused(lora_model, folder):
    engine = Engine(lora_model)
    plan = engine.plan(dataclasses.replace(ASKED, loras="kohya:1"))
    tensors = load_file(folder / "kohya.safetensors")
    save_file({key: tensor * 2 for key, tensor in tensors.items()}, folder / "kohya.safetensors")
    with pytest.raises(BadSetting, match="kohya has changed since the run was planned"):
        list(engine.run(plan, previews=False))
    assert engine.plan(plan.settings).stages[0].key != plan.stages[0].key


def test_alpha_of_diffusers_metadata_scales_a_file(lora_model, folder):
    import json

    tensors = load_file(folder / "diffusers.safetensors")
    metadata = {"unet.lora_alpha": RANK * 2, "unet.r": RANK}
    save_file(tensors, folder / "scaled.safetensors", {"lora_adapter_metadata": json.dumps(metadata)})
    name = "unet.mid_block.attentions.0.proj_in"
    W = lora_model.pipeline.unet.get_submodule(name.removeprefix("unet.")).weight
    before = W.clone()
    with Loras(lora_model).fusing() as fusing:
        fusing.use(planned(lora_model.card, "scaled:1").loras, UNET, "attention")
        change = W - before
    BA = tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
    torch.testing.assert_close(change, 2 * BA, atol=1e-5, rtol=1e-4)


def test_that_the_refiner_runs_without_them_is_said(lora_model):
    settings = dataclasses.replace(ASKED, loras="kohya:1", refiner="ensemble")
    assert Engine(lora_model).plan(settings).notices == (
        "LoRA files change the base model; the refiner runs without them.",
    )
