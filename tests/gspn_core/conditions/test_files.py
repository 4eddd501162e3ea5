"""The folder of controls: published configurations, what is refused and why, plans, and texts of pictures."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch
from diffusers import ControlNetModel, ControlNetUnionModel, T2IAdapter
from torch.utils.flop_counter import FlopCounterMode

from gspn_core.cli.models import main as models_command
from gspn_core.errors import BadSetting, ModelUnavailable, OverBudget
from gspn_core.images.metadata import recipe_of
from gspn_core.images.png import picture_info, versions
from gspn_core.models.catalog import Extras, find_card
from gspn_core.models.condition_files import find_conditions, read_condition
from gspn_core.models.condition_layout import CONTROL_LAYOUTS, control_config
from gspn_core.models.conditions import load_condition
from gspn_core.models.layout import LAYOUTS
from gspn_core.models.shapes import SDXL_SHAPES, read_shapes
from gspn_core.planning.condition_cost import condition_elements, condition_operations
from gspn_core.planning.conditions import condition_notices
from gspn_core.planning.memory import Call
from gspn_core.planning.plan import make_plan
from gspn_core.planning.suggestions import find_suggestions
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import Machine
from gspn_core.settings import Settings, parse_overrides

IMAGE = f"64x64-{'a' * 64}"
ASKED = Settings(
    prompt="a hill", seed=1, target=64, num_inference_steps=4, control="controlnet", control_image=IMAGE
)
# As counted in the published files: half of their bytes in float16.
PUBLISHED = {
    "controlnet": 1_251_014_160,
    "controlnet-mid": 272_586_000,
    "controlnet-small": 160_111_120,
    "t2i-adapter": 79_028_160,
}
CLASSES = {cls.__name__: cls for cls in (ControlNetModel, ControlNetUnionModel, T2IAdapter)}


@pytest.fixture(scope="module")
def card(folder):
    return find_card(str(folder.parent / "base"), extras=Extras(controls=str(folder)))


@pytest.fixture(scope="module")
def shapes(folder):
    return read_shapes(folder.parent / "base", {})


def changed(folder, tmp_path, name: str, **values):
    """Return a copy of a network's folder with other values in its configuration."""
    copy = tmp_path / "copies" / name
    shutil.copytree(folder / name, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **values}))
    return copy


@pytest.mark.parametrize("layout", CONTROL_LAYOUTS)
def test_the_full_size_is_what_was_published(layout, tmp_path):
    config = control_config(layout, LAYOUTS["full"].unet)
    with torch.device("meta"):
        network = CLASSES[config["_class_name"]].from_config(config)
    count = sum(part.numel() for part in network.parameters())
    assert count == PUBLISHED.get(layout, count)
    (tmp_path / "config.json").write_text(json.dumps(config))
    header = {
        key: {"dtype": "F16", "shape": list(value.shape), "data_offsets": [0, 0]}
        for key, value in network.state_dict().items()
    }
    text = json.dumps(header).encode()
    (tmp_path / "diffusion_pytorch_model.fp16.safetensors").write_bytes(
        len(text).to_bytes(8, "little") + text
    )
    file = read_condition(tmp_path, SDXL_SHAPES)
    assert (file.issue, file.parameters) == ("", count)
    assert file.types == {"controlnet-union": 6, "controlnet-promax": 8}.get(layout, 0)


def test_what_the_command_writes_is_found_and_loads(card, capsys, tmp_path):
    assert [file.name for file in card.conditions] == sorted(CONTROL_LAYOUTS)
    assert not any(file.issue for file in card.conditions)
    for file in card.conditions:
        network = load_condition(file, dtype=torch.float32)
        assert sum(part.numel() for part in network.parameters()) == file.parameters
        assert not any(part.requires_grad for part in network.parameters())
    asked = ["random", str(tmp_path / "edges"), "--control", "controlnet-small", "--model", "world"]
    assert models_command(asked) == 0
    assert "MB of random weights" in capsys.readouterr().out
    (edges,) = find_card("world", extras=Extras(controls=str(tmp_path))).conditions
    assert (edges.name, edges.issue) == ("edges", "")


def test_the_first_published_union_names_another_class(folder, shapes, tmp_path):
    copy = changed(folder, tmp_path, "controlnet-union", _class_name="ControlNetModel_Union")
    file = read_condition(copy, shapes)
    assert (file.issue, file.kind, file.types) == ("", "ControlNet-Union", 6)
    load_condition(file, dtype=torch.float32)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        (
            "controlnet",
            {"cross_attention_dim": 768},
            "is a ControlNet of Stable Diffusion 1.5, and this model's",
        ),
        ("controlnet", {"cross_attention_dim": 1024}, "is a ControlNet of Stable Diffusion 2, and"),
        (
            "controlnet",
            {"addition_embed_type": None},
            "is a ControlNet that reads no sizes, and not one of SDXL",
        ),
        (
            "controlnet",
            {"block_out_channels": [16, 32]},
            "has blocks of 16, 32 channels, and this model 16, 32, 32",
        ),
        (
            "controlnet",
            {"conditioning_channels": 6},
            "reads 4 channels of latents and 6 of a picture, not 4 and 3",
        ),
        ("controlnet", {"conditioning_embedding_out_channels": [4, 8]}, "reads a picture at another size"),
        ("controlnet", {"cross_attention_dim": "wide"}, "has a damaged configuration"),
        (
            "controlnet",
            {"_class_name": "UNet2DConditionModel"},
            "holds UNet2DConditionModel, which is neither",
        ),
        ("t2i-adapter", {"adapter_type": "full_adapter"}, "is a T2I-Adapter of Stable Diffusion 1.5 or 2"),
        ("t2i-adapter", {"channels": [320, 640, 1280, 1280]}, "has maps of 320, 640, 1280, 1280 channels"),
        ("t2i-adapter", {"downscale_factor": 8}, "has maps of another size than this model's blocks"),
    ],
)
def test_a_network_of_another_model_is_refused_in_a_sentence(
    name, values, said, folder, shapes, card, tmp_path
):
    file = read_condition(changed(folder, tmp_path, name, **values), shapes)
    assert file.issue.startswith(said)
    with_it = dataclasses.replace(card, conditions=(file,))
    asked = dataclasses.replace(ASKED, control=name)
    with pytest.raises(
        BadSetting, match=rf"control: {name} {said[:20]}.*; start with --controls DIR"
    ) as refused:
        make_plan(asked, with_it)
    assert refused.value.field == "control"


def test_broken_folders_are_named_with_the_reason(folder, shapes, tmp_path):
    torn = changed(folder, tmp_path, "controlnet")
    (weights,) = torn.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-8])
    assert "copy it again" in read_condition(torn, shapes).issue
    weights.unlink()
    assert "holds no .safetensors weights" in read_condition(torn, shapes).issue
    (torn / "diffusion_pytorch_model.bin").write_bytes(b"")
    assert "is a pickled file, which can hold a program" in read_condition(torn, shapes).issue
    (torn / "config.json").write_text("{")
    assert "cannot be read" in read_condition(torn, shapes).issue
    with pytest.raises(ModelUnavailable, match="is not a folder; give one with --controls"):
        find_conditions(str(tmp_path / "nowhere"), shapes)


def test_weights_that_do_not_match_the_configuration_are_refused(folder, card, tmp_path):
    copy = changed(folder, tmp_path, "controlnet")
    shutil.copy(next((folder / "controlnet-small").glob("*.safetensors")), next(copy.glob("*.safetensors")))
    file = dataclasses.replace(card.conditions[0], path=str(copy))
    with pytest.raises(ModelUnavailable, match=r"the ControlNet controlnet lacks .* more tensors"):
        load_condition(file, dtype=torch.float32)


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"control": "controlet"}, "control", "there is no folder controlet here; did you mean controlnet"),
        ({"control": "xyz"}, "control", "there is no folder xyz here; choose controlnet, "),
        ({"control": ""}, "control", "control is empty and control_image is given; choose controlnet, "),
        ({"control_image": ""}, "control_image", "give the picture that controlnet reads, or leave control"),
        ({"control_start": 0.6, "control_end": 0.6}, "control_end", "is 0.6 and must be above control_start"),
        ({"control_start": 0.3, "control_end": 0.4}, "control_end", "none of the 4 steps is between"),
        (
            {"control": "controlnet-union", "control_type": "tile"},
            "control_type",
            "controlnet-union does not read tile; it reads openpose, ",
        ),
        ({"overrides": parse_overrides("64.control=none")}, "control", "there is no folder none here"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_to_do(values, field, said, card):
    with pytest.raises(BadSetting, match=said) as refused:
        make_plan(dataclasses.replace(ASKED, **values), card)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"control_scale": 2.5}, "control_scale must be a number from 0 to 2, got 2.5; try 2"),
        ({"control_scale": -1}, "control_scale must be a number from 0 to 2, got -1; try 0"),
        ({"control_image": "photo.png"}, "control_image must name a picture that was handed in here"),
        ({"control_image": f"1000x100-{'a' * 64}"}, "control_image is 1000×100 px, longer than 4:1; crop it"),
        ({"control_type": "edges"}, "control_type must be one of openpose, depth"),
        ({"overrides": f"64.control_image={IMAGE}"}, "'control_image' cannot be overridden"),
    ],
)
def test_a_value_out_of_its_range_is_refused(values, said):
    with pytest.raises(BadSetting, match=said):
        dataclasses.replace(ASKED, **values)


def test_without_a_folder_the_remedy_is_the_option(card):
    with pytest.raises(
        BadSetting, match="start with --controls DIR, a folder with ControlNets or T2I-Adapters"
    ):
        make_plan(ASKED, dataclasses.replace(card, conditions=None))


def test_a_stage_that_another_model_draws_has_none(card):
    lanczos = dataclasses.replace(ASKED, target=128, ladder="lanczos:128")
    assert [stage.condition is None for stage in make_plan(lanczos, card).stages] == [False, True]
    own = dataclasses.replace(lanczos, overrides=parse_overrides("128.control_scale=0.5"))
    with pytest.raises(BadSetting, match=r"128 px \(lanczos\) has no control_scale; name 64 px"):
        make_plan(own, card)


def test_the_refiner_is_said_to_run_without_it(card):
    with_refiner = dataclasses.replace(card, has_refiner=True)
    plan = make_plan(dataclasses.replace(ASKED, refiner="ensemble"), with_refiner)
    assert condition_notices(plan) == ("The control steers the base model; the refiner runs without it.",)
    assert condition_notices(make_plan(ASKED, with_refiner)) == ()


def test_the_digest_is_of_the_content_alone(folder, shapes, tmp_path):
    first = read_condition(folder / "controlnet", shapes)
    copy = changed(folder, tmp_path, "controlnet")
    (copy / "config.json").write_bytes((folder / "controlnet" / "config.json").read_bytes())
    assert read_condition(copy, shapes).digest == first.digest
    (weights,) = copy.glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    assert read_condition(copy, shapes).digest != first.digest


def test_a_dropped_pictures_settings_bring_it_back_or_say_what_is_missing(card):
    made = make_plan(dataclasses.replace(ASKED, control_scale=0.4), card)
    info = picture_info(made, 0, versions())
    texts = {"gspn_studio": info, "width": 64, "height": 64}
    recipe = recipe_of(texts, card, versions())
    again = make_plan(Settings.from_dict(recipe.settings), card)
    assert [stage.key for stage in again.stages] == [stage.key for stage in made.stages]
    assert recipe.differing == {} and recipe.refused == []
    other = dataclasses.replace(card.conditions[0], digest="f" * 32)
    differing = recipe_of(texts, dataclasses.replace(card, conditions=(other,)), versions()).differing
    assert differing == {"control controlnet": (card.conditions[0].digest[:12], "f" * 12)}
    gone = recipe_of(texts, dataclasses.replace(card, conditions=None), versions())
    assert "control" not in gone.settings and "control_image" not in gone.settings
    assert gone.refused == ["control: controlnet is not in the folder that --controls names."]


def network_and_arguments(card, name: str):
    file = next(file for file in card.conditions if file.name == name)
    network = load_condition(file, dtype=torch.float32)
    if file.shapes is None:
        return file, lambda: network(torch.zeros(1, 3, 256, 256))
    conditioning = {"text_embeds": torch.zeros(2, 24), "time_ids": torch.zeros(2, 6)}
    kinds = {}
    if file.types:
        kinds = {"control_type": torch.zeros(2, file.types), "control_type_idx": [1]}
    picture = torch.zeros(2, 3, 256, 256)
    return file, lambda: network(
        torch.zeros(2, 4, 32, 32),
        torch.tensor(1.0),
        encoder_hidden_states=torch.zeros(2, 77, 40),
        controlnet_cond=[picture] if kinds else picture,
        added_cond_kwargs=conditioning,
        return_dict=False,
        **kinds,
    )


@pytest.mark.parametrize("name", ["controlnet", "controlnet-small", "controlnet-union"])
def test_the_operations_that_are_planned_are_those_that_run(name, card):
    file, call = network_and_arguments(card, name)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        call()
    planned = condition_operations(file, 256, 256, rows=2)
    assert planned == pytest.approx(counter.get_total_flops(), rel=0.15)


def machine(**values) -> Machine:
    timing = StageTiming(
        mixer="attention",
        height=64,
        width=64,
        step_seconds=1.0,
        decode_seconds=0.5,
        encode_seconds=0.5,
        source="run",
    )
    common = {"device": "cpu", "budget_bytes": 10**9, "base_bytes": 0, "element_bytes": 4}
    return Machine(**{**common, "timings": (timing,), **values})


def test_a_plan_counts_its_memory_and_its_time(card):
    without = dataclasses.replace(ASKED, control="", control_image="")
    plain, steered = (make_plan(asked, card, machine()).stages[0] for asked in (without, ASKED))
    file = steered.condition.file
    assert steered.peak_bytes - plain.peak_bytes >= 4 * file.parameters
    assert plain.seconds * 1.1 < steered.seconds < plain.seconds * 2
    half = dataclasses.replace(ASKED, control_end=0.5)
    between = make_plan(half, card, machine()).stages[0]
    assert plain.seconds < between.seconds < steered.seconds
    adapter = make_plan(dataclasses.replace(ASKED, control="t2i-adapter"), card, machine()).stages[0]
    assert adapter.seconds == plain.seconds and adapter.peak_bytes > plain.peak_bytes
    large = condition_elements(file, 128, 128, Call(rows=2))
    assert large > 3 * condition_elements(file, 64, 64, Call(rows=2))


def test_a_run_that_does_not_fit_for_its_control_is_offered_without_it(card):
    without = dataclasses.replace(ASKED, control="", control_image="")
    # What each needs at least, with every memory option.
    least = [
        make_plan(asked, card, machine(budget_bytes=1)).stages[0].peak_bytes for asked in (without, ASKED)
    ]
    tight = machine(budget_bytes=sum(least) // 2)
    plan = make_plan(ASKED, card, tight)
    assert plan.too_large is not None
    offered = find_suggestions(ASKED, plan, card, lambda settings: make_plan(settings, card, tight))
    assert [(one.name, one.value) for one in offered] == [("control_scale", 0.0)]


def test_a_gpus_plan_keeps_its_skip_tensors_and_needs_the_hosts_memory(card):
    small = machine(device="cuda", budget_bytes=2_000_000, host_bytes=10**9)
    assert not make_plan(ASKED, card, small).stages[0].choices.skips_on_host
    with pytest.raises(OverBudget, match=r"control: controlnet takes .* GB of the host's memory"):
        make_plan(ASKED, card, machine(device="cuda", host_bytes=1000))
