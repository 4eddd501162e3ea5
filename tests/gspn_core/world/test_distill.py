"""Distillation at toy size: the mixers learn, the adapter is kept, the teacher is left as it was."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.world.distill import Captured, Distillation, distill, main, train


def test_distilled_adapter_loads_into_the_exported_model_and_changes_it(trained, tmp_path):
    recipe, out = trained
    distill(recipe).save(tmp_path / "gspn_adapter")
    pipeline = StableDiffusionXLPipeline.from_pretrained(out)
    pipeline.set_progress_bar_config(disable=True)
    adapter = GSPNAdapter.load(tmp_path / "gspn_adapter", pipeline)
    assert adapter.trained

    def draw():
        generator = torch.Generator().manual_seed(0)
        return pipeline(
            "dunes", height=64, width=128, num_inference_steps=2, generator=generator, output_type="latent"
        ).images

    plain = draw()
    with adapter.injected():
        mixed = draw()
    assert mixed.isfinite().all()
    assert not torch.equal(plain, mixed)
    assert torch.equal(draw(), plain)


def test_both_passes_leave_their_figures(trained):
    recipe, _ = trained
    distill(recipe)
    lines = [json.loads(line) for line in (recipe.work / "distill.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    assert {"worst", "noise", "teacher", "layers", "attention_loss", "mixer_loss"} <= names


def test_mixers_that_learnt_alone_before_learn_together_at_once(trained, tmp_path):
    recipe, _ = trained
    work = Distillation(replace(recipe, align_share=0.0), folder=tmp_path)
    train(work)
    lines = [json.loads(line) for line in (tmp_path / "distill.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    assert "noise" in names and "worst" not in names
    assert work.adapter.trained


def test_a_share_that_is_none_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--work", str(tmp_path), "--align-share", "1.5"])
    assert "got 1.5" in capsys.readouterr().err


def test_another_seed_than_that_of_the_training_is_refused(trained, tmp_path, capsys):
    recipe, _ = trained
    with pytest.raises(SystemExit) as stopped:
        main(["--work", str(recipe.work), "--out", str(tmp_path / "out"), "--minutes", "1", "--seed", "8"])
    assert stopped.value.code == 1
    assert "was trained with seed 0, got 8; give --seed 0." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_alignment_moves_the_mixers_and_not_the_teacher(trained):
    recipe, _ = trained
    work = Distillation(recipe)
    loss, _told = work.align_step(0)
    loss.backward()
    assert all(weight.grad is None for weight in work.unet.parameters())
    moved = [weight for weight in work.adapter.parameters() if weight.grad is not None]
    assert len(moved) > 0.9 * len([*work.adapter.parameters()])


def test_captured_sees_every_layer_and_its_map_size(trained):
    recipe, _ = trained
    work = Distillation(recipe)
    seen = Captured()
    batch = work.large.draw(1)
    with torch.no_grad(), seen.of(work.unet, work.adapter.mixers):
        work._predict(batch.latents, torch.tensor([5]), batch)
    assert set(seen.inputs) == set(work.adapter.mixers)
    for name, (height, width) in seen.map_sizes.items():
        assert seen.inputs[name].shape[1] == height * width
        assert height * batch.latents.shape[3] == width * batch.latents.shape[2]


def test_larger_views_are_told_with_their_own_size(trained):
    recipe, _ = trained
    work = Distillation(recipe)
    for _ in range(4):
        latents, _told, ids, _ = work.large.draw(2)
        assert ids[0, :2].tolist() == [8 * side for side in latents.shape[2:]]


def test_mixers_start_from_an_earlier_model_where_their_form_is_the_same(trained, tmp_path):
    recipe, _ = trained
    earlier = Distillation(recipe).adapter
    with torch.no_grad():
        for parameter in earlier.parameters():
            parameter.add_(0.25)
    earlier.save(tmp_path / "gspn_adapter")
    started = Distillation(replace(recipe, start=tmp_path)).adapter.state_dict()
    assert all(torch.equal(started[name], tensor) for name, tensor in earlier.state_dict().items())
    other = replace(earlier.config, gating="free")
    untouched = Distillation(replace(recipe, start=tmp_path), other).adapter.state_dict()
    fresh = Distillation(recipe, other).adapter.state_dict()
    assert all(torch.equal(untouched[name], tensor) for name, tensor in fresh.items())
