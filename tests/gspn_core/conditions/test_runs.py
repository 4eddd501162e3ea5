"""What a control reads is kept with its run; both come back from a picture's text and its JSON."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from gspn_core.cli import generate as command
from gspn_core.cli import grid
from gspn_core.cli.command import DONE, USAGE
from gspn_core.engine import Engine
from gspn_core.errors import BadSetting
from gspn_core.images.load import reference_of
from gspn_core.runs.instant import obstacle
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings

FLAGS = ["a hill", "--seed", "1", "--target", "64", "--num-inference-steps", "2"]


@pytest.fixture(scope="module")
def engine(model):
    return Engine(model)


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "edges.png"
    levels = np.random.default_rng(3).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    Image.fromarray(levels).save(path)
    return path


@pytest.fixture
def jobs(engine, tmp_path):
    queue = RunQueue(engine.run, tmp_path / "runs", plan=engine.plan, view_seconds=0.0)
    yield queue
    queue.close()


def asked(reference: str, **values) -> Settings:
    common = {"prompt": "a hill", "seed": 1, "target": 64, "num_inference_steps": 2}
    return Settings(**{**common, "control": "controlnet", "control_image": reference, **values})


def test_a_picture_is_made_again_from_its_own_text_to_the_same_bytes(engine, drawing, tmp_path, capsys):
    def run(*arguments: str) -> int:
        return command.main([*arguments, "--no-preview", "--quiet"], load=lambda *_a, **_k: engine)

    out, again = tmp_path / "one", tmp_path / "two"
    own = ["--control", "controlnet", "--control-image", str(drawing), "--control-scale", "0.6"]
    assert run(*FLAGS, *own, "--control-end", "0.9", "--out", str(out)) == DONE
    (picture,) = out.glob("*.png")
    record = json.loads(picture.with_suffix(".json").read_text())
    kept = record["settings"]
    assert (kept["control"], kept["control_scale"], kept["control_end"]) == ("controlnet", 0.6, 0.9)
    assert kept["control_image"] == reference_of(Image.open(drawing))
    assert run("--again", str(picture), "--out", str(again)) == USAGE
    assert "made from a picture of 64x96 px; give that one with --control-image" in capsys.readouterr().err
    assert run("--again", str(picture), "--control-image", str(drawing), "--out", str(again)) == DONE
    (second,) = again.glob("*.png")
    assert second.read_bytes() == picture.read_bytes()
    assert Settings.from_dict(kept).to_dict() == kept


def test_a_run_keeps_its_picture_and_removes_it_with_itself(jobs, drawing):
    reference = jobs.take_start(drawing, "edges.png", visitor="me")
    run = jobs.submit(asked(reference), visitor="me")
    *_, view = jobs.follow(run)
    assert view.state == "done", view.error
    again = jobs.submit(Settings.from_dict(view.settings), visitor="me")
    *_, second = jobs.follow(again)
    assert [stage.reused for stage in second.stages] == [True]
    assert second.stages[0].digest == view.stages[0].digest
    jobs.delete(run, "me")
    assert jobs.start_proxy(reference) is not None
    jobs.delete(again, "me")
    assert jobs.start_proxy(reference) is None
    with pytest.raises(BadSetting, match="The picture that its control reads is not kept here") as refused:
        jobs.submit(asked(reference))
    assert refused.value.field == "control_image"
    off = jobs.submit(asked(reference, control_scale=0.0))
    *_, view = jobs.follow(off)
    assert view.state == "done"


def test_a_batch_and_a_higher_target_go_on_with_it(jobs, drawing):
    reference = jobs.take_start(drawing, "edges.png")
    runs = jobs.batches.submit(asked(reference), 2, visitor="me")
    views = [list(jobs.follow(run))[-1] for run in runs]
    assert [view.state for view in views] == ["done", "done"]
    *_, higher = jobs.follow(jobs.extend(runs[0], 128, visitor="me"))
    assert higher.state == "done" and len(higher.stages) == 2


def test_no_sketch_is_drawn_with_a_control(engine):
    plan = engine.plan(asked(f"64x64-{'a' * 64}"))
    assert obstacle(plan) == "control"
    assert obstacle(engine.plan(asked("", control=""))) != "control"


def test_a_grid_reads_one_picture_in_all_its_cells(engine, drawing, tmp_path, capsys):
    reference = reference_of(Image.open(drawing))
    base = {**asked(reference).to_dict(), "mixer": "attention", "overrides": ""}
    file = tmp_path / "grid.json"
    axes = [
        {"name": "control_scale", "values": [0, 1]},
        {"name": "control", "values": "controlnet\nt2i-adapter"},
    ]
    file.write_text(json.dumps({"base": base, "axes": axes}))
    card = engine.model.card

    def run(*more: str) -> int:
        arguments = [str(file), "--out", str(tmp_path / "out"), "--no-zip", "--quiet", *more]
        return grid.main(arguments, load=lambda *_a, **_k: engine, find=lambda *_a, **_k: card)

    assert run() == USAGE
    assert "has a control that reads an image of 64x96 px; give that one with --control-image" in (
        capsys.readouterr().err
    )
    assert run("--control-image", str(drawing)) == DONE
    cells = sorted((tmp_path / "out" / "images").glob("*.png"))
    pictures = {path.name: Image.open(path).tobytes() for path in cells}
    assert len(pictures) == 4 and len(set(pictures.values())) == 3


def test_a_control_of_one_stage_alone_needs_its_picture(engine):
    own = dataclasses.replace(
        asked(f"64x64-{'a' * 64}", target=128), control="", overrides="128.control=t2i-adapter"
    )
    plan = engine.plan(own)
    assert [stage.condition and stage.condition.file.name for stage in plan.stages] == [None, "t2i-adapter"]
