"""LoRA files in a plan: tags and setting as one, names found on the card, keys, memory and refusals."""

import dataclasses

import pytest

from gspn_core.errors import BadSetting, OverBudget
from gspn_core.lora.files import LoraFile
from gspn_core.models.quantize import SCHEMES, SDXL_LINEAR
from gspn_core.models.shapes import SDXL_SHAPES
from gspn_core.planning.costs import predict
from gspn_core.planning.plan import make_plan, redo, work_of
from gspn_core.planning.types import Machine, MemoryOptions
from gspn_core.settings import Settings

ASKED = Settings(prompt="a hill", seed=1, target=128)


class Source:
    """Files that are not on disk; the digest of each is what `digests` says."""

    def __init__(self, **digests):
        self.digests = digests

    def all(self):
        files = [
            LoraFile(name=name, path="", layers=2, numbers=1000, self_attention_numbers=500)
            for name in self.digests
        ]
        return (*files, LoraFile(name="old", path="", issue="is a LoRA of SD 1.5"))

    def digest(self, name):
        return self.digests[name]

    def hashes(self, name):
        return self.digests[name], ""


@pytest.fixture
def card(tiny_card):
    return dataclasses.replace(tiny_card, loras=Source(ink="1a", snow="2b"))


def test_tags_and_setting_are_one(card):
    asked = [
        dataclasses.replace(ASKED, loras="ink:0.8, snow:0.5"),
        dataclasses.replace(ASKED, prompt="a hill <lora:snow:0.5><lora:ink:0.8>"),
        dataclasses.replace(ASKED, prompt="a hill <lora:ink:0.3>", loras="snow:0.5, ink:0.5"),
    ]
    plans = [make_plan(settings, card) for settings in asked]
    assert len({plan.stages[-1].key for plan in plans}) == 1
    for plan in plans:
        assert (plan.settings.prompt, plan.settings.loras) == ("a hill", "ink:0.8, snow:0.5")
        assert [(lora.name, lora.weight, lora.sha256) for lora in plan.stages[0].loras] == [
            ("ink", 0.8, "1a"),
            ("snow", 0.5, "2b"),
        ]
        assert make_plan(plan.settings, card) == plan


def test_the_key_follows_the_files_bytes_and_the_weight_and_no_lora_leaves_it(card, tiny_card):
    def key(loras, on=card):
        return make_plan(dataclasses.replace(ASKED, loras=loras), on).stages[-1].key

    renamed = dataclasses.replace(card, loras=Source(brush="1a"))
    changed = dataclasses.replace(card, loras=Source(ink="9f"))
    assert key("") == key("", tiny_card) == key("ink:0")
    assert key("ink:1") == key("brush:1", renamed)
    assert len({key(""), key("ink:1"), key("ink:0.5"), key("snow:1"), key("ink:1", changed)}) == 5


def test_a_stage_with_a_prompt_of_its_own_has_the_tags_of_that(card):
    settings = dataclasses.replace(
        ASKED, prompt="a hill <lora:ink:1>", loras="snow:0.5", overrides="128.prompt=a lake <lora:snow:0.25>"
    )
    plan = make_plan(settings, card)
    named = [[(lora.name, lora.weight) for lora in stage.loras] for stage in plan.stages]
    assert named == [[("ink", 1.0), ("snow", 0.5)], [("snow", 0.75)]]
    assert plan.stages[1].settings.prompt == "a lake"
    assert make_plan(plan.settings, card) == plan
    bare = dataclasses.replace(ASKED, prompt="a hill <lora:ink:1>", overrides="128.prompt=a lake")
    assert [len(stage.loras) for stage in make_plan(bare, card).stages] == [1, 0]
    off = dataclasses.replace(ASKED, loras="ink:1", overrides='128.loras=""')
    assert [len(stage.loras) for stage in make_plan(off, card).stages] == [1, 0]


def test_stages_before_a_redone_one_keep_their_loras(card):
    made = make_plan(dataclasses.replace(ASKED, loras="ink:1"), card)
    again = make_plan(redo(made, 1, ASKED, lambda settings: make_plan(settings, card)), card)
    assert again.stages[0].key == made.stages[0].key and again.stages[1].loras == ()


@pytest.mark.parametrize(
    ("loras", "said"),
    [
        ("inkk:1", "has no LoRA file inkk here; did you mean ink?"),
        ("Ink:1", "did you mean ink?"),
        ("castle:1", "has no LoRA file castle here; there are ink, snow."),
        ("old:1", "old is a LoRA of SD 1.5; choose one that was made for The tiny model."),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_what_is(loras, said, card):
    with pytest.raises(BadSetting) as refusal:
        make_plan(dataclasses.replace(ASKED, loras=loras), card)
    assert said in str(refusal.value) and refusal.value.field == "loras"
    with pytest.raises(BadSetting) as refusal:
        make_plan(dataclasses.replace(ASKED, prompt=f"a hill <lora:{loras}>"), card)
    assert said in str(refusal.value) and refusal.value.field == "prompt"


def test_without_a_folder_the_remedy_is_one(tiny_card):
    with pytest.raises(BadSetting, match="put .safetensors files for it into the folder that --loras names"):
        make_plan(dataclasses.replace(ASKED, prompt="a hill <lora:ink:1>"), tiny_card)


def test_a_prompt_of_tags_alone_and_quantized_weights_are_refused(card):
    with pytest.raises(BadSetting, match="prompt has only LoRA tags"):
        make_plan(dataclasses.replace(ASKED, prompt="<lora:ink:1>"), card)
    unet = dataclasses.replace(SDXL_SHAPES.unet, quantized=SCHEMES["int8"].quantized(SDXL_LINEAR))
    quantized = dataclasses.replace(card, shapes=dataclasses.replace(SDXL_SHAPES, unet=unet))
    assert make_plan(ASKED, quantized).stages
    with pytest.raises(
        BadSetting, match="loras cannot be fused into weights in int8; start without --quantize"
    ):
        make_plan(dataclasses.replace(ASKED, loras="ink:1"), quantized)


def test_the_originals_that_are_kept_are_in_the_predicted_memory(card):
    settings = dataclasses.replace(ASKED, loras="ink:1, snow:1", mixer="attention")
    work = work_of(make_plan(settings, card).stages[0])
    assert work.lora_numbers == 3000
    replaced = work_of(make_plan(dataclasses.replace(settings, mixer="gspn"), card).stages[0])
    assert replaced.lora_numbers == 2000
    machine = Machine(device="cpu", budget_bytes=10**12, base_bytes=0, element_bytes=4)
    plain = dataclasses.replace(work, lora_numbers=0)
    more, less = (predict(one, MemoryOptions(), SDXL_SHAPES, machine).peak_bytes for one in (work, plain))
    assert more - less == 12_000


def test_a_gpus_host_needs_room_for_them(card):
    shaped = dataclasses.replace(card, shapes=SDXL_SHAPES)
    settings = dataclasses.replace(ASKED, loras="ink:1, snow:1", mixer="attention")
    machine = Machine(device="cuda", budget_bytes=10**12, base_bytes=0, host_bytes=5999)
    with pytest.raises(OverBudget, match="take 0.0 GB of the host's memory while they are fused"):
        make_plan(settings, shaped, machine)
    roomy = dataclasses.replace(machine, host_bytes=6000)
    assert make_plan(settings, shaped, roomy).stages[0].fits
    assert make_plan(ASKED, shaped, dataclasses.replace(machine, host_bytes=0)).stages
