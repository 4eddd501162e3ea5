"""A cascade that starts from a picture, on real classes with random weights."""

import pickle

import numpy as np
import pytest
from PIL import Image

from gspn_core.cascade.sample import StageSampler
from gspn_core.engine import Engine
from gspn_core.errors import BadSetting
from gspn_core.events import CascadeDone, PlanReady, StageDone, StageStarted, StepDone, TileDone
from gspn_core.images.load import cropped, reference_of
from gspn_core.settings import Settings


def photograph(height: int = 150, width: int = 210, seed: int = 0) -> Image.Image:
    soft = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return Image.fromarray(soft).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def engine(tiny_model):
    return Engine(tiny_model)


def asked(start: Image.Image, **values) -> Settings:
    usual = {"prompt": "a hill", "target": 256, "seed": 3, "num_inference_steps": 4}
    return Settings(**{**usual, "start": reference_of(start), **values})


def run(engine, settings, start, **options):
    return list(engine.run(engine.plan(settings), previews=False, start=start, **options))


def pictures(events):
    return [event.image for event in events if isinstance(event, StageDone)]


def decibels(one: Image.Image, other: Image.Image) -> float:
    error = np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)
    return 10 * np.log10(255**2 / max(error, 1e-9))


def test_the_first_stage_is_the_picture_itself_and_costs_no_call_of_the_model(engine):
    start = photograph()
    events = run(engine, asked(start), start)
    assert isinstance(events[0], PlanReady) and isinstance(events[-1], CascadeDone)
    plan = events[0].plan
    assert events[0].model_calls[0] == 0 and events[0].model_calls[1] > 0
    size = plan.stages[0].size
    wanted = cropped(start, size.height, size.width).resize(
        (size.width, size.height), Image.Resampling.LANCZOS
    )
    first, last = pictures(events)
    assert first.tobytes() == wanted.tobytes()
    assert last.size == (size.width * 2, size.height * 2)
    assert {event.stage for event in events if isinstance(event, (StepDone, TileDone))} == {1}
    assert [event.stage.index for event in events if isinstance(event, StageStarted)] == [0, 1]
    assert len(pickle.loads(pickle.dumps(events))) == len(events)


def test_the_next_stage_starts_from_all_that_the_picture_shows(engine, monkeypatch):
    start, seen = photograph(150, 150), []
    original = StageSampler.sample

    def sample(self, z_ref, *others):
        seen.append(z_ref.clone())
        return original(self, z_ref, *others)

    monkeypatch.setattr(StageSampler, "sample", sample)
    run(engine, asked(start, start_px=64, target=128), start)
    small = start.resize((64, 64), Image.Resampling.LANCZOS)
    run(engine, asked(small, start_px=64, target=128), small)
    # 150 px hold more than the 64 of the stage's own picture.
    assert not np.allclose(seen[0].numpy(), seen[1].numpy(), atol=1e-3)


def test_a_picture_drawn_again_follows_it_the_closer_the_fewer_steps_are(engine):
    start = photograph(128, 128)
    values = {"num_inference_steps": 20, "target": 64, "guidance_scale": 1.0}
    drawn = {
        strength: pictures(run(engine, asked(start, start_strength=strength, **values), start))[0]
        for strength in (0.05, 0.5, 1.0)
    }
    assert len({image.tobytes() for image in drawn.values()}) == 3
    steps = [
        sum(isinstance(e, StepDone) for e in run(engine, asked(start, start_strength=s, **values), start))
        for s in (0.05, 0.5, 1.0)
    ]
    assert steps == [1, 10, 20]
    # Random weights encode and decode to no likeness; what one step leaves is nearer to that than twenty.
    base = drawn[0.05]
    assert decibels(drawn[0.5], base) > decibels(drawn[1.0], base)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_stages_after_finished_ones_give_the_same_bytes(engine, strength):
    start = photograph()
    settings = asked(start, start_strength=strength, start_px=64)
    whole = pictures(run(engine, settings, start))
    for count in (1, 2):
        rest = pictures(run(engine, settings, start, finished=whole[:count]))
        assert [image.tobytes() for image in rest] == [image.tobytes() for image in whole[count:]]


@pytest.mark.parametrize(
    "change",
    [{"start_px": 64}, {"start_strength": 0.5}, {"prompt": "a lake"}, {"upscale_strength": 0.9}, {"seed": 4}],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_reaches_the_picture(engine, change):
    start = photograph(128, 128)
    before = pictures(run(engine, asked(start), start))[-1]
    after = pictures(run(engine, asked(start, **change), start))[-1]
    assert before.size == after.size and before.tobytes() != after.tobytes()


def test_another_picture_than_the_one_named_is_refused_before_the_first_event(engine):
    start, other = photograph(), photograph(seed=1)
    for given in (None, other):
        with pytest.raises(BadSetting, match="give that picture"):
            next(engine.run(engine.plan(asked(start)), start=given))
    assert (
        next(engine.run(engine.plan(Settings(prompt="a hill", target=64)))).plan.stages[0].kind.name
        == "generate"
    )


def test_the_refiner_ends_a_picture_that_is_drawn_again(engine):
    start = photograph()
    values = {"start_strength": 0.75, "num_inference_steps": 8, "target": 64}
    plain = pictures(run(engine, asked(start, **values), start))[0]
    for use in ("ensemble", "image"):
        refined = pictures(run(engine, asked(start, refiner=use, **values), start))[0]
        assert refined.tobytes() != plain.tobytes()
