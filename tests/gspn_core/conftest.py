"""A cascade of three small stages as hand-made events, shared by the tests of plan, jobs and command line."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import pytest
from PIL import Image

from gspn_core.errors import Stopped
from gspn_core.events import (
    CascadeDone,
    Event,
    MemorySample,
    PictureDone,
    PlanReady,
    StageDone,
    StageStarted,
    StepDone,
    StepWeights,
    TileDone,
)
from gspn_core.planning.plan import make_plan
from gspn_core.planning.together import plan_together
from gspn_core.planning.types import CascadePlan, ModelCard, StagePlan
from gspn_core.runtime.other_work import OtherWork
from gspn_core.settings import Settings

WAIT_SECONDS = 90
CARD = ModelCard(
    name="toy",
    title="The toy model",
    description="Draws one colour.",
    base_px=64,
    size_multiple=8,
    max_target_px=256,
    default_target_px=256,
    num_inference_steps=4,
    guidance_scale=4.0,
    upscale_strength=0.5,
    mixers=("gspn", "attention"),
    has_refiner=True,
)


def memory(now: int = 1_000, peak: int = 2_000) -> MemorySample:
    return MemorySample(kind="process", now_bytes=now, peak_bytes=peak, total_bytes=10_000)


def stage_weights(stage: StagePlan) -> tuple[StepWeights, ...]:
    """The first step of every later stage evaluates the dilated branch."""
    if stage.kind.name == "generate":
        return ()
    return tuple(
        StepWeights(timestep=float(500 - i), c1=0.1, c2=0.3, c3=0.2, dilated=i == 0)
        for i in range(stage.steps)
    )


def stage_events(stage: StagePlan, *, call_seconds: float = 1.0) -> Generator[Event, None, None]:
    weights = stage_weights(stage)
    yield StageStarted(stage=stage, weights=weights)
    seconds = 0.0
    for step in range(1, stage.steps + 1):
        seconds += call_seconds * (1 + (bool(weights) and weights[step - 1].dilated))
        preview = Image.new("RGB", (8, 8), (step, 0, 0))
        yield StepDone(
            stage=stage.index,
            step=step,
            steps=stage.steps,
            seconds=seconds,
            memory=memory(now=1_000 + step),
            preview=preview,
        )
    for tile in (1, 2):
        seconds += call_seconds
        yield TileDone(
            stage=stage.index, phase="decode", tile=tile, tiles=2, seconds=seconds, memory=memory()
        )
    picture = Image.new("RGB", (stage.size.width, stage.size.height), (stage.index, 90, 200))
    yield StageDone(stage=stage, image=picture, seconds=seconds, memory=memory(peak=5_000))


def cascade_events(plan: CascadePlan, first: int = 0) -> Generator[Event, None, None]:
    calls = tuple(stage.steps + sum(w.dilated for w in stage_weights(stage)) for stage in plan.stages)
    yield PlanReady(plan=plan, model_calls=calls)
    for stage in plan.stages[first:]:
        yield from stage_events(stage, call_seconds=4.0**stage.index)
    yield CascadeDone(seconds=100.0)


@dataclass
class Engine:
    """Stands where the engine stands: it plans for real and tells a cascade of coloured squares.

    before_event is called with (settings, number of the event) and may wait or raise. together: how many
    seeds it draws with a run's own.
    """

    before_event: Callable[[Settings, int], None] = lambda _settings, _number: None
    planned: list[Settings] = field(default_factory=list)
    ran: list[Settings] = field(default_factory=list)
    finished: list[tuple[Image.Image, ...]] = field(default_factory=list)
    starts: list[Image.Image | None] = field(default_factory=list)
    stopped_after: list[int] = field(default_factory=list)
    more_seeds: list[tuple[int, ...]] = field(default_factory=list)
    together: int = 0

    def plan(self, settings: Settings) -> CascadePlan:
        self.planned.append(settings)
        return make_plan(settings, CARD)

    def run(
        self,
        plan: CascadePlan,
        should_stop: Callable[[], bool],
        previews: bool = True,  # noqa: ARG002 - the engine's signature
        finished: Sequence[Image.Image] = (),
        start: Image.Image | None = None,
        more_seeds: Sequence[int] = (),
    ) -> Generator[Event, None, None]:
        self.ran.append(plan.settings)
        self.finished.append(tuple(finished))
        self.starts.append(start)
        self.more_seeds.append(tuple(more_seeds))
        drawn = tuple(more_seeds)[: self.together]
        events = cascade_events(plan_together(plan) if drawn else plan, len(finished))
        for number, event in zip(itertools.count(), events, strict=False):
            self.before_event(plan.settings, number)
            if should_stop():
                self.stopped_after.append(number)
                raise Stopped("The run was stopped.")
            if not (drawn and isinstance(event, StageDone)):
                yield event
                continue
            yield dataclasses.replace(event, together=1 + len(drawn))
            for seed in drawn:
                image = Image.new("RGB", event.image.size, (seed, 9, 9))
                yield PictureDone(
                    seed=seed, done=dataclasses.replace(event, image=image, together=1 + len(drawn))
                )


class Gate:
    """Holds an engine before event number `at` of its first run until it is opened."""

    def __init__(self, at: int = 3) -> None:
        self.at, self.reached, self._open = at, threading.Event(), threading.Event()

    def __call__(self, _settings: Settings, number: int) -> None:
        if number == self.at and not self._open.is_set():
            self.reached.set()
            assert self._open.wait(WAIT_SECONDS)

    def wait(self) -> None:
        assert self.reached.wait(WAIT_SECONDS)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def sized_model(tiny_model):
    """A tiny model whose numbers are known, so that plans predict its memory."""
    from gspn_core.models.shapes import unet_shapes, vae_shapes
    from gspn_core.planning.types import Shapes

    pipeline = tiny_model.pipeline
    shapes = Shapes(
        unet=unet_shapes(pipeline.unet.config, parameters=10**5),
        vae=vae_shapes(pipeline.vae.config, parameters=10**5),
        text_parameters=10**4,
    )
    return dataclasses.replace(tiny_model, card=dataclasses.replace(tiny_model.card, shapes=shapes))


@pytest.fixture
def card() -> ModelCard:
    return CARD


@pytest.fixture
def make_engine() -> type[Engine]:
    return Engine


@pytest.fixture
def plan() -> CascadePlan:
    return make_plan(Settings(prompt="a lake", seed=7), CARD)


@pytest.fixture
def events(plan: CascadePlan) -> list[Event]:
    return list(cascade_events(plan))


@pytest.fixture
def one_thread():
    """Small maps gain nothing from more threads, which wait for one another on a busy machine.

    A command line that sets the number of threads sets it for its own test alone.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def toy_nets():
    """Networks of a few thousand weights on pictures of 64 px."""
    from gspn_core.training.nets import NetConfig

    return NetConfig(
        base_px=64,
        vae_channels=(8, 8, 8, 8),
        unet_channels=(16, 16, 16),
        head_dim=8,
        norm_groups=8,
        text_widths=(16, 16),
        text_layers=2,
        time_embed_dim=8,
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory, toy_nets):
    """A recipe whose parts are all trained for two steps, and the exported pipeline's folder."""
    from gspn_core.training.denoiser import train_model
    from gspn_core.training.loop import LoopConfig
    from gspn_core.training.recipe import Recipe
    from gspn_core.training.train import export, render_cache
    from gspn_core.training.vae import train_vae

    work = tmp_path_factory.mktemp("work")
    loop = LoopConfig(minutes=10, max_steps=2, log_steps=1)
    recipe = Recipe(
        work=work, nets=toy_nets, pictures=12, corpus_captions=1000, processes=1, vae_loop=loop,
        decoder_loop=loop, model_loop=loop, distill_loop=loop, vae_batch=2, vae_crop_px=32,
        model_batch=2, distill_batch=2, sheet_steps=2, large_views=1, on_policy_steps=4,
    )  # fmt: skip
    render_cache(recipe)
    train_vae(recipe)
    train_model(recipe)
    export(recipe, work / "out")
    return recipe, work / "out"


@pytest.fixture(scope="session")
def tiny_conditioning():
    """Return two different prompts as a guidance pair with sizes in px."""
    import torch

    from gspn_core.backbones.conditioning import Conditioning

    generator = torch.Generator().manual_seed(3)
    return Conditioning(
        prompt_embeds=torch.randn(2, 77, 32, generator=generator),
        pooled_prompt_embeds=torch.randn(2, 16, generator=generator),
        add_time_ids=torch.tensor([[64.0, 64, 0, 0, 64, 64]]).expand(2, -1),
    )


@pytest.fixture
def quiet_machine(monkeypatch):
    """Let measurements find that no other program runs, whatever else the tests' machine does."""
    monkeypatch.setattr(OtherWork, "cores", 0.0)


@pytest.fixture
def short_turns(monkeypatch):
    """Let measurements do each piece once a round, where it is not the figures that matter."""
    monkeypatch.setattr("gspn_core.cascade.benchmark._TURN_SECONDS", 0.0)
