import dataclasses
import pickle

import pytest
import torch
from PIL import Image

from gspn_core.engine import Engine
from gspn_core.errors import BadSetting
from gspn_core.events import StageDone, StageStarted
from gspn_core.images.load import reference_of
from gspn_core.planning.plan import make_plan
from gspn_core.settings import CHOICES, Settings


def test_a_plan_names_what_has_no_meaning_here(tiny_model):
    engine = Engine(tiny_model)
    assert engine.plan(Settings(prompt="a (hill:1.2) " * 90)).notices == ()
    (notice,) = engine.plan(Settings(prompt="a hill AND fog")).notices
    assert notice.startswith("Prompt: AND does not combine prompts here")
    (notice,) = engine.plan(Settings(prompt="a hill <hypernet:snow:1>")).notices
    assert notice.startswith("Prompt: Tags such as <hypernet:name> load nothing here")


def test_a_seed_that_is_left_open_is_drawn_and_reported(tiny_model):
    engine = Engine(tiny_model)
    seeds = {next(engine.run(engine.plan(Settings(prompt="a hill")))).plan.settings.seed for _ in range(4)}
    assert len(seeds) == 4
    assert None not in seeds


def test_the_settings_of_a_plan_repeat_the_run(tiny_model):
    engine = Engine(tiny_model)
    plan = engine.plan(Settings(prompt="a hill"))
    assert engine.plan(plan.settings) == dataclasses.replace(plan)


def test_events_cross_to_another_process(tiny_model):
    engine = Engine(tiny_model)
    events = list(engine.run(engine.plan(Settings(prompt="a hill", seed=1))))
    for event in pickle.loads(pickle.dumps(events)):
        assert dataclasses.is_dataclass(event)


def test_weights_predicted_before_a_run_are_those_of_the_run(tiny_model):
    engine = Engine(tiny_model)
    for scheduler in CHOICES["scheduler"]:
        asked = Settings(
            prompt="a hill", seed=1, target=256, scheduler=scheduler, overrides="256.cosine_scale_2=2"
        )
        plan = engine.plan(asked)
        answer = engine.weights(plan)
        events = engine.run(plan, previews=False)
        assert answer == tuple(event.weights for event in events if isinstance(event, StageStarted))
        assert answer[0] == () and answer[1][0].c2 != answer[2][0].c2


ASKED = Settings(prompt="a hill", seed=1, target=128, num_inference_steps=2)


def image(width: int = 64, height: int = 64, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"finished": None}, r"^finished must be a list of PIL images, got NoneType; give \(\) for none\.$"),
        ({"finished": image()}, r"^finished must be a list of PIL images, got Image; give \(\) for none\.$"),
        ({"finished": [b"png"]}, r"^finished image 1 must be a PIL image, got bytes\.$"),
        ({"finished": [image(64, 32)]}, r"^finished image 1 must be RGB of 64×64 px, got RGB of 64×32; give"),
        ({"finished": [image(mode="RGBA")]}, r"^finished image 1 must be RGB of 64×64 px, got RGBA of 64×64"),
        ({"finished": [image(), image()]}, r"^finished image 2 must be RGB of 128×128 px, got RGB of 64×64"),
        (
            {"finished": [image(), image(128, 128), image()]},
            r"^finished has 3 images and the run 2 stages; leave the last ones out\.$",
        ),
        ({"start": "photo.png"}, r"^start must be a PIL image, got str; open the file first\.$"),
        ({"start": image()}, r"^start was given and settings\.start is empty; set it to reference_of"),
    ],
)
def test_images_that_a_run_has_no_place_for_are_refused_before_it_begins(tiny_model, options, said):
    engine = Engine(tiny_model)
    plan = engine.plan(ASKED)
    with pytest.raises(BadSetting, match=said) as caught:
        next(engine.run(plan, **options))
    assert caught.value.field in options


@pytest.mark.parametrize(("given", "kind"), [(ASKED, "Settings"), ("a hill", "str"), (None, "NoneType")])
def test_a_run_refuses_what_is_not_a_plan_and_names_the_remedy(tiny_model, given, kind):
    with pytest.raises(BadSetting, match=rf"^plan must be a CascadePlan, got {kind}; call ") as caught:
        next(Engine(tiny_model).run(given))
    assert str(caught.value).endswith("; call engine.run(engine.plan(Settings(prompt=…))).")
    assert caught.value.field == "plan"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "other"}, r"^plan was made for the model other, this is .+; call engine\.run\("),
        ({"fingerprint": "other"}, r"^plan was made for other files or options of the model .+; call"),
    ],
)
def test_a_run_refuses_the_plan_of_another_model(tiny_model, change, said):
    plan = make_plan(ASKED, dataclasses.replace(tiny_model.card, **change))
    with pytest.raises(BadSetting, match=said) as caught:
        next(Engine(tiny_model).run(plan))
    assert caught.value.field == "plan"


def test_a_plan_crosses_to_another_process_with_its_keys(tiny_model):
    plan = Engine(tiny_model, memory_bytes=2**40).plan(ASKED)
    crossed = pickle.loads(pickle.dumps(plan))
    assert crossed == plan
    assert [stage.key for stage in crossed.stages] == [stage.key for stage in plan.stages]
    assert all(stage.key for stage in plan.stages)
    assert pictures_of(Engine(tiny_model), crossed) == pictures_of(Engine(tiny_model), plan)


def pictures_of(engine: Engine, plan) -> list[bytes]:
    return [event.image.tobytes() for event in engine.run(plan) if isinstance(event, StageDone)]


def test_a_run_does_what_its_plan_says_whatever_memory_there_is_by_then(sized_model, monkeypatch):
    engine = Engine(sized_model, memory_bytes=2**40)
    plan = engine.plan(ASKED)
    monkeypatch.setattr(engine, "_memory_bytes", 1)
    assert engine.plan(ASKED).too_large is not None
    ready, *events = engine.run(plan)
    assert ready.plan == plan
    drawn = [event.stage for event in events if isinstance(event, StageDone)]
    assert drawn == list(plan.stages)


def test_a_plan_that_no_longer_fits_is_known_before_it_is_run(sized_model, monkeypatch):
    engine = Engine(sized_model, memory_bytes=2**40)
    plan = engine.plan(ASKED)
    assert engine.still_fits(plan)
    needed = max(stage.peak_bytes for stage in plan.stages)
    # The process itself grows and shrinks a little between two readings.
    for memory_bytes, fits in ((needed + 2**28, True), (needed - 2**28, False)):
        monkeypatch.setattr(engine, "_memory_bytes", memory_bytes)
        assert engine.still_fits(plan) is fits


def test_a_stage_that_only_enlarges_is_its_predecessor_enlarged_and_is_gone_on_from(tiny_model):
    engine = Engine(tiny_model)
    plan = engine.plan(
        Settings(prompt="a hill", seed=1, target=256, ladder="lanczos:128 256", num_inference_steps=2)
    )
    images = [event.image for event in engine.run(plan) if isinstance(event, StageDone)]
    assert [stage.kind.name for stage in plan.stages] == ["generate", "lanczos", "upscale"]
    assert images[1] == images[0].resize((128, 128), Image.Resampling.LANCZOS)
    assert images[2].size == (256, 256) and images[2] != images[1].resize((256, 256))
    again = engine.run(plan, finished=images[:2])
    assert [event.image for event in again if isinstance(event, StageDone)] == images[2:]


def test_the_remedies_of_those_refusals_work(tiny_model):
    engine, start = Engine(tiny_model), image(128, 128)
    plan = engine.plan(ASKED)
    made = [event.image for event in engine.run(plan) if isinstance(event, StageDone)]
    again = [event.image for event in engine.run(plan, finished=made[:1]) if isinstance(event, StageDone)]
    assert [picture.tobytes() for picture in again] == [made[1].tobytes()]
    assert not any(isinstance(event, StageDone) for event in engine.run(plan, finished=made))
    next(engine.run(engine.plan(dataclasses.replace(ASKED, start=reference_of(start))), start=start))


@pytest.mark.parametrize("scheduler", CHOICES["scheduler"])
def test_the_callers_default_dtype_changes_nothing(tiny_model, scheduler):
    engine = Engine(tiny_model)
    asked = dataclasses.replace(ASKED, scheduler=scheduler)

    def pictures() -> list[bytes]:
        return [e.image.tobytes() for e in engine.run(engine.plan(asked)) if isinstance(e, StageDone)]

    expected = pictures()
    before = torch.get_default_dtype()
    try:
        for dtype in (torch.float64, torch.bfloat16):
            torch.set_default_dtype(dtype)
            assert pictures() == expected
    finally:
        torch.set_default_dtype(before)
