"""The few-step student at toy size: recordings, the jump's target, training, the exported pipeline."""

import shutil

import pytest
import torch
from diffusers import EulerDiscreteScheduler

from gspn_core.errors import GspnError
from gspn_core.models.loading import load_model
from gspn_core.training.few_step import Student, jump_weights
from gspn_core.training.nets import build_scheduler
from gspn_core.training.recordings import GRID, JUMP, Recording, files, grid_levels, read


def test_the_grid_has_the_timesteps_that_four_euler_steps_have():
    levels, euler = grid_levels(), EulerDiscreteScheduler.from_config(build_scheduler().config)
    euler.set_timesteps(GRID // JUMP)
    assert levels.timesteps[:-1:JUMP].tolist() == euler.timesteps.tolist()
    torch.testing.assert_close(levels.ratio[::JUMP].float(), euler.sigmas.float(), rtol=1e-4, atol=1e-4)


def test_a_student_that_predicts_the_target_lands_on_the_recorded_picture(monkeypatch):
    levels = grid_levels()
    states = torch.randn(2, GRID + 1, 4, 8, 8).half()
    recording = Recording(states=states, captions=("a", "b"), time_ids=torch.zeros(6))
    student = object.__new__(Student)
    student.levels = levels

    def exact(_x, starts, _captions, _time_ids, **_):
        begin, end = (states[:, at].float() for at in (starts[0], starts[0] + JUMP))
        ratio, alphas = levels.ratio, levels.alphas
        step = ratio[starts[0] + JUMP] - ratio[starts[0]]
        return (end / alphas[starts[0] + JUMP] - begin / alphas[starts[0]]) / step

    monkeypatch.setattr(student, "predict", exact, raising=False)
    torch.testing.assert_close(student.draw(recording, mixed=True), states[:, -1].float(), atol=1e-3, rtol=0)
    places = torch.tensor([0, 1])
    assert float(student.loss(recording, (places, torch.tensor([0, 0])), mixed=True)) < 1e-6


def test_errors_weigh_what_they_add_to_the_picture():
    weights = jump_weights(grid_levels())
    assert weights.shape == (GRID,) and weights.mean() == pytest.approx(1)
    assert (weights[:-JUMP].diff() < 0).all() and (weights > 0).all()


def test_recordings_are_those_of_the_teacher_and_go_on_where_they_ended(few_step_recipe, recorded):
    student = Student(few_step_recipe)
    recorded(student, 2)
    first = [path.read_bytes() for path in files(student.folder / "recordings")]
    recorded(student, 3)
    found = read(student.folder / "recordings")
    assert [path.read_bytes() for path in files(student.folder / "recordings")][:2] == first
    assert len(found) == 3 and all(each.states.shape[1] == GRID + 1 for each in found)
    assert all(each.states.isfinite().all() for each in found)


def test_it_learns_and_is_written_as_a_model_that_draws(few_step_recipe, recorded):
    student = Student(few_step_recipe)
    recorded(student)
    before = {name: weight.clone() for name, weight in student.modules["unet"].state_dict().items()}
    loop = student.train(batch=2)
    assert loop.step == 4
    assert any(
        not torch.equal(weight, before[name]) for name, weight in student.modules["unet"].state_dict().items()
    )
    assert "apart_gspn" in (student.folder / "few-step.jsonl").read_text()
    assert [*(student.folder / "sheets").glob("*.png")]
    out = few_step_recipe.work / "out"
    student.export(loop, out)
    model = load_model(str(out), dtype="float32")
    assert "gspn" in model.card.mixers
    trained = loop.averages["unet"].state_dict()
    for name, weight in model.pipeline.unet.state_dict().items():
        torch.testing.assert_close(weight, trained[name].half().float(), rtol=0, atol=0)


def test_a_checkpoint_of_another_teacher_is_refused(few_step_recipe, recorded):
    student = Student(few_step_recipe)
    recorded(student)
    student.train(batch=2)
    other = Student(few_step_recipe)
    with torch.no_grad():
        other.modules["unet"].conv_in.weight.add_(1)
    with pytest.raises(GspnError, match="began from other weights"):
        other.train(batch=2)


def test_without_recordings_the_command_that_makes_them_is_named(few_step_recipe):
    with pytest.raises(GspnError, match="0 recordings, 2 or more .*few_step record"):
        Student(few_step_recipe).train(batch=2)


def test_without_mixers_it_says_what_to_name(few_step_recipe):
    shutil.rmtree(few_step_recipe.start / "gspn_adapter")
    with pytest.raises(GspnError, match="name a model with --start"):
        Student(few_step_recipe)
