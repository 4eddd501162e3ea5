import dataclasses
import pickle

from gspn_core.engine import Engine
from gspn_core.events import StageStarted
from gspn_core.settings import CHOICES, Settings


def test_a_plan_names_the_tokens_that_are_not_read(tiny_model):
    engine = Engine(tiny_model)
    assert engine.plan(Settings(prompt="a hill")).notices == ()
    (notice,) = engine.plan(Settings(prompt="a " * 90)).notices
    assert "90 tokens" in notice


def test_a_seed_that_is_left_open_is_drawn_and_told(tiny_model):
    engine = Engine(tiny_model)
    seeds = {next(engine.run(Settings(prompt="a hill"))).plan.settings.seed for _ in range(4)}
    assert len(seeds) == 4
    assert None not in seeds


def test_the_settings_of_a_plan_repeat_the_run(tiny_model):
    engine = Engine(tiny_model)
    plan = engine.plan(Settings(prompt="a hill"))
    assert engine.plan(plan.settings) == dataclasses.replace(plan)


def test_events_cross_to_another_process(tiny_model):
    events = list(Engine(tiny_model).run(Settings(prompt="a hill", seed=1)))
    for event in pickle.loads(pickle.dumps(events)):
        assert dataclasses.is_dataclass(event)


def test_weights_told_before_a_run_are_those_of_the_run(tiny_model):
    engine = Engine(tiny_model)
    for scheduler in CHOICES["scheduler"]:
        asked = Settings(
            prompt="a hill", seed=1, target=256, scheduler=scheduler, overrides="256.cosine_scale_2=2"
        )
        told = engine.weights(asked)
        events = engine.run(asked, previews=False)
        assert told == tuple(event.weights for event in events if isinstance(event, StageStarted))
        assert told[0] == () and told[1][0].c2 != told[2][0].c2
