"""The seams: a new stage kind, backbone or control is a class and one row; nothing else knows of it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from PIL import Image

from gspn_core.backbones import registry as backbones
from gspn_core.backbones.sdxl import SDXL
from gspn_core.controls import registry as controls
from gspn_core.controls.control import Control
from gspn_core.engine import Engine
from gspn_core.events import StageDone
from gspn_core.kinds import registry as kinds
from gspn_core.kinds.kind import StageKind
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from ui.studio.ladder import ladder_props

ASKED = Settings(prompt="a hill", seed=1, target=128, num_inference_steps=2, upscale_strength=1.0)


def pictures(model) -> list[Image.Image]:
    engine = Engine(model)
    events = list(engine.run(engine.plan(ASKED), previews=False))
    return [event.image for event in events if isinstance(event, StageDone)]


def test_a_new_kind_of_stage_is_planned_run_kept_and_shown(tiny_model, tmp_path, monkeypatch):
    class Mirrored(StageKind):
        name = "mirrored"
        reads = frozenset()
        denoises = encodes = False
        maths = "mirrored"

        def steps(self, own):  # noqa: ARG002 - the contract's
            return 0, 0

        def picture(self, source, height, width):
            return super().picture(source, height, width).transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, Mirrored()))
    engine = Engine(tiny_model)
    jobs = RunQueue(engine.run, tmp_path, plan=engine.plan, view_seconds=0.0)
    try:
        run = jobs.submit(dataclasses.replace(ASKED, ladder="mirrored:128"))
        *_, view = jobs.follow(run)
    finally:
        jobs.close()
    assert view.state == "done" and [stage.kind for stage in view.stages] == ["generate", "mirrored"]
    assert ladder_props(view)["stages"][1]["state"] == "done"
    base, last = (Image.open(stage.png_path) for stage in view.stages)
    enlarged = base.resize((128, 128), Image.Resampling.LANCZOS)
    assert last.tobytes() == enlarged.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()


def test_a_new_backbone_predicts_for_the_models_of_its_family(tiny_model, monkeypatch):
    class Halved(SDXL):
        name = "halved"

        def predict(self, *args, **kwargs):
            return super().predict(*args, **kwargs) / 2

    monkeypatch.setattr(backbones, "BACKBONES", {**backbones.BACKBONES, "halved": Halved})
    before, halved = pictures(tiny_model), pictures(dataclasses.replace(tiny_model, family="halved"))
    assert all(one != other for one, other in zip(before, halved, strict=True))


@pytest.mark.parametrize("hook", ["before", "denoised", "after"])
def test_a_new_control_has_its_part_in_every_step(hook, tiny_model, monkeypatch):
    asked: list[int] = []

    class Gray(Control):
        steers = hook == "denoised"

        @classmethod
        def for_stage(cls, setup):
            return cls() if setup.stage.index else None

    def act(_self, maps, i):
        asked.append(i)
        return torch.zeros_like(maps)

    setattr(Gray, hook, act)
    before = pictures(tiny_model)
    monkeypatch.setattr(controls, "CONTROLS", (*controls.CONTROLS, Gray))
    base, last = pictures(tiny_model)
    assert asked == [0, 1]
    assert base == before[0] and last != before[1]
