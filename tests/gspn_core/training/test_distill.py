"""Distillation at toy size: the mixers learn, the adapter is kept, the teacher is left as it was."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.errors import GspnError
from gspn_core.training import denoiser
from gspn_core.training.captured import Captured
from gspn_core.training.distill import distill, main, train
from gspn_core.training.distillation import Distillation
from gspn_core.world.captions import corpus


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


def test_all_passes_leave_their_figures(trained, tmp_path):
    recipe, _ = trained
    train(Distillation(recipe, folder=tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "distill.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    assert {"worst", "noise", "teacher", "layers", "guided", "plain"} <= names
    assert {"attention_loss", "mixer_loss", "apart_while_drawing"} <= names


def test_without_a_share_for_layerwise_distillation_mixers_learn_together_at_once(trained, tmp_path):
    recipe, _ = trained
    work = Distillation(replace(recipe, layerwise_share=0.0, on_policy_share=0.0), folder=tmp_path)
    train(work)
    lines = [json.loads(line) for line in (tmp_path / "distill.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    assert "noise" in names and not {"worst", "guided"} & names
    assert [path.stem for path in tmp_path.glob("*.pt")] == ["end-to-end"]
    assert work.adapter.trained


def test_mixers_learn_from_the_pictures_that_they_sample(trained):
    recipe, _ = trained
    work = Distillation(recipe)
    started = [picture.latents.clone() for picture in work.trajectories.pictures]
    steps = 0
    while not steps or work.trajectories.pictures[0].step == 0:
        loss, logged = work.on_policy_step(steps)
        steps += 1
    loss.backward()
    assert all(weight.grad is None for weight in work.unet.parameters())
    moved = [weight for weight in work.adapter.parameters() if weight.grad is not None]
    assert len(moved) > 0.9 * len([*work.adapter.parameters()])
    assert logged["guided"] > 0 and logged["plain"] > 0
    assert not torch.equal(work.trajectories.pictures[0].latents, started[0])
    before = work.on_policy_distance()
    assert before == work.on_policy_distance()


def test_a_share_above_one_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--work", str(tmp_path), "--align-share", "1.5"])
    assert "got 1.5" in capsys.readouterr().err


def test_shares_that_leave_less_than_nothing_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--work", str(tmp_path), "--align-share", "0.8", "--drawn-share", "0.5"])
    assert "got 0.8 and 0.5" in capsys.readouterr().err


def test_another_seed_than_that_of_the_training_is_refused(trained, tmp_path, capsys):
    recipe, _ = trained
    with pytest.raises(SystemExit) as stopped:
        main(["--work", str(recipe.work), "--out", str(tmp_path / "out"), "--minutes", "1", "--seed", "8"])
    assert stopped.value.code == 1
    assert "was trained with seed 0, got 8; give --seed 0." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_exported_model_teaches_where_none_was_trained(trained, tmp_path):
    recipe, out = trained
    pipeline = StableDiffusionXLPipeline.from_pretrained(out)
    parts = {name: getattr(pipeline, name) for name in ("unet", "text_encoder", "text_encoder_2", "vae")}
    with torch.no_grad():
        for part in parts.values():
            for parameter in part.parameters():
                parameter.add_(0.0625)
    pipeline.save_pretrained(tmp_path / "other")
    work = Distillation(replace(recipe, start=tmp_path / "other", work=bare(recipe, tmp_path)))
    for name, part in parts.items():
        read, state = work.vae if name == "vae" else work.modules[name], part.float().state_dict()
        for key, tensor in read.state_dict().items():
            torch.testing.assert_close(tensor, state[key])
    assert work.on_policy_step(0)[0].isfinite()


def test_a_start_that_is_not_a_model_is_named(trained, tmp_path):
    recipe, out = trained
    shutil.copytree(out, tmp_path / "torn", ignore=shutil.ignore_patterns("vae"))
    with pytest.raises(GspnError, match="torn has no vae; name a model's folder"):
        Distillation(replace(recipe, start=tmp_path / "torn", work=bare(recipe, tmp_path)))


def test_checkpoints_of_other_mixers_are_not_resumed(trained, tmp_path):
    recipe, _ = trained
    quick = replace(recipe, distill_loop=replace(recipe.distill_loop, max_steps=1))
    train(Distillation(quick, folder=tmp_path))
    began = [torch.load(path, weights_only=True)["step"] for path in sorted(tmp_path.glob("*.pt"))]
    assert began == [1, 1, 1]
    # The same training is finished already; after a longer earlier pass the next one starts elsewhere.
    train(Distillation(quick, folder=tmp_path))
    with pytest.raises(GspnError, match=r"end-to-end\.pt began from other weights; move it away"):
        train(Distillation(recipe, folder=tmp_path))


def test_latents_of_another_encoder_are_encoded_again(trained, tmp_path):
    recipe, out = trained
    recipe = replace(recipe, start=out, work=bare(recipe, tmp_path))
    first = Distillation(recipe)
    stored = (recipe.work / "latents.pt").stat().st_mtime_ns
    Distillation(recipe)
    assert (recipe.work / "latents.pt").stat().st_mtime_ns == stored
    pipeline = StableDiffusionXLPipeline.from_pretrained(out)
    with torch.no_grad():
        pipeline.vae.quant_conv.bias.add_(0.5)
    pipeline.save_pretrained(tmp_path / "other")
    second = Distillation(replace(recipe, start=tmp_path / "other"))
    for moved in (
        second.measures.data.latents - first.measures.data.latents,
        second.large.shapes[0] - first.large.shapes[0],
    ):
        torch.testing.assert_close(moved, torch.full_like(moved, 0.5), atol=0.05, rtol=0)


def test_a_work_folder_without_a_model_or_renders_says_so(trained, tmp_path, capsys, monkeypatch):
    recipe, _ = trained
    # The command's own corpus is twenty times as large.
    monkeypatch.setattr(denoiser, "corpus", lambda _count, rng: corpus(recipe.corpus_captions, rng))
    folders = ((bare(recipe, tmp_path), "holds no trained model"), (tmp_path / "no", "no renders"))
    for work, message in folders:
        with pytest.raises(SystemExit) as stopped:
            main(["--work", str(work), "--out", str(tmp_path / "out")])
        assert stopped.value.code == 1
        assert message in capsys.readouterr().err


def bare(recipe, folder):
    """Return a work folder with only the recipe's renders."""
    (folder / "bare").mkdir()
    (folder / "bare" / "data").symlink_to(recipe.data)
    return folder / "bare"


def test_layerwise_distillation_moves_the_mixers_and_not_the_teacher(trained):
    recipe, _ = trained
    work = Distillation(recipe)
    loss, _ = work.layerwise_step(0)
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


def test_larger_views_are_conditioned_on_their_own_size(trained):
    recipe, _ = trained
    work = Distillation(recipe)
    for _ in range(4):
        latents, _, ids, _ = work.large.draw(2)
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
