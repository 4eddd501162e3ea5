"""Training at toy size: two steps of each part on toy pictures, resumed, exported and run."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from safetensors.torch import load_file

from gspn_core.errors import GspnError
from gspn_core.training.denoiser import train_model
from gspn_core.training.discriminator import Discriminator
from gspn_core.training.log import Log
from gspn_core.training.loop import Loop, LoopConfig
from gspn_core.training.muon import Muon, splits
from gspn_core.training.nets import (
    build_text_encoders,
    build_tokenizer,
    build_unet,
    build_vae,
    encode_prompts,
    fold_latent_statistics,
)
from gspn_core.training.vae import grain, picture_loss, train_decoder
from gspn_core.world.captions import vocabulary


def test_export_loads_as_a_pipeline_and_draws_any_shape(trained):
    _, out = trained
    pipeline = StableDiffusionXLPipeline.from_pretrained(out)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("snowy mountains over a lake", height=64, width=128, num_inference_steps=2).images[0]
    assert image.size == (128, 64)


def test_export_is_float16_safetensors(trained):
    _, out = trained
    for part in ("unet", "vae"):
        weights = load_file(out / part / "diffusion_pytorch_model.safetensors")
        assert {weight.dtype for weight in weights.values()} == {torch.float16}


def test_export_does_not_tell_where_it_was_trained(trained):
    recipe, out = trained
    for path in out.rglob("*.json"):
        assert str(recipe.work) not in path.read_text()


def test_pipeline_sees_the_embeddings_that_training_saw(trained):
    _, out = trained
    pipeline = StableDiffusionXLPipeline.from_pretrained(out)
    prompt = "red hills at dusk"
    seen = pipeline.encode_prompt(prompt, do_classifier_free_guidance=True)
    encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
    with torch.no_grad():
        embeds, pooled = encode_prompts(pipeline.tokenizer, encoders, [prompt, ""])
    for got, want in zip(seen, (embeds[:1], embeds[1:], pooled[:1], pooled[1:]), strict=True):
        torch.testing.assert_close(got, want)


def test_training_writes_sheets_and_held_out_figures(trained):
    recipe, _ = trained
    sheets = {path.name for path in (recipe.work / "sheets").iterdir()}
    assert {"vae-000002.png", "model-000002.png"} <= sheets
    assert "held_out_psnr_db" in (recipe.work / "vae.jsonl").read_text()
    assert "held_out_loss" in (recipe.work / "model.jsonl").read_text()


def test_training_resumes_where_it_stopped(trained):
    recipe, _ = trained
    longer = replace(recipe, model_loop=replace(recipe.model_loop, max_steps=3))
    train_model(longer)
    steps = [line for line in (recipe.work / "model.jsonl").read_text().splitlines() if '"loss"' in line]
    assert len(steps) == 3


def test_latents_have_zero_mean_and_unit_variance_after_folding(trained):
    recipe, _ = trained
    latents = torch.load(recipe.work / "latents.pt", weights_only=True)["latents"]
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=0.05, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=0.05, rtol=0)


def test_folding_leaves_the_decoded_picture_alone(toy_nets):
    torch.manual_seed(0)
    vae = build_vae(toy_nets).eval()
    sample = torch.rand(1, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(sample).latent_dist.mode()).sample
        deviation = vae.encode(sample).latent_dist.std
        mean, std = torch.tensor([0.3, -0.2, 0.1, 1.0]), torch.tensor([0.5, 2.0, 1.5, 0.7])
        fold_latent_statistics(vae, mean, std)
        after = vae.decode(vae.encode(sample).latent_dist.mode()).sample
        torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(vae.encode(sample).latent_dist.std, deviation / std[:, None, None])


def test_tokenizer_knows_every_word_of_the_world():
    words = sorted(vocabulary())
    tokenizer = build_tokenizer(words)
    assert all(len(tokenizer(word).input_ids) == 3 for word in words)
    assert tokenizer.decode(tokenizer("quartz dunes", add_special_tokens=False).input_ids) == "quartz dunes"


def test_a_texture_of_the_wrong_strength_costs_more_than_one_that_is_misplaced():
    grain = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    _, moved = picture_loss(grain.roll(8, dims=3), grain)
    _, missing = picture_loss(torch.zeros_like(grain), grain)
    assert moved < 0.5 * missing


def test_the_rate_rises_then_holds_then_falls_to_zero():
    config = LoopConfig(minutes=10, learning_rate=1.0, warmup_steps=10, decay_share=0.2)
    assert config.rate(0, 0.0) == pytest.approx(0.1)
    assert config.rate(100, 300.0) == 1.0
    assert config.rate(100, 540.0) == pytest.approx(0.5)
    assert config.rate(100, 600.0) == 0.0


def test_loop_finds_the_answer_and_its_average_follows(tmp_path):
    model = torch.nn.Linear(1, 1)
    config = LoopConfig(minutes=10, max_steps=300, learning_rate=0.05, warmup_steps=1, weight_decay=0.0)
    loop = Loop({"line": model}, config, tmp_path / "line.pt")
    x = torch.linspace(-1, 1, 16)[:, None]
    loop.run(lambda _: ((model(x) - 3 * x - 1).square().mean(), {}), Log(tmp_path / "line.jsonl"))
    np.testing.assert_allclose([model.weight.item(), model.bias.item()], [3, 1], atol=0.05)
    assert abs(loop.averages["line"].weight.item() - 3) < 1.0


@pytest.mark.parametrize(("evaluate_seconds", "times"), [(-1.0, 6), (900.0, 1)])
def test_loop_evaluates_as_often_as_its_config_says_and_once_at_the_end(tmp_path, evaluate_seconds, times):
    model = torch.nn.Linear(1, 1)
    config = LoopConfig(minutes=10, max_steps=5, evaluate_seconds=evaluate_seconds)
    seen = []
    loop = Loop({"line": model}, config, tmp_path / "line.pt")
    loop.run(
        lambda _: (model(torch.ones(1, 1)).square().sum(), {}),
        Log(tmp_path / "line.jsonl"),
        lambda: seen.append(loop.step),
    )
    assert (len(seen), seen[-1]) == (times, 5)


def test_decoder_alone_learns_and_leaves_the_latents_as_they_were(trained):
    recipe, _ = trained
    sample = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before = AutoencoderKL.from_pretrained(recipe.work / "vae")
    after = train_decoder(recipe)
    with torch.no_grad():
        latents = before.encode(sample).latent_dist.mode()
        torch.testing.assert_close(after.encode(sample).latent_dist.mode(), latents, atol=1e-5, rtol=1e-4)
        assert not torch.equal(after.decode(latents).sample, before.decode(latents).sample)
    logged = [json.loads(line) for line in (recipe.work / "decoder.jsonl").read_text().splitlines()]
    assert any("generator_loss" in line for line in logged)
    assert {"net", "optimizer"} == torch.load(recipe.work / "decoder.pt")["stateful"]["critic"].keys()


def test_grain_is_one_for_a_picture_itself_and_less_for_a_blurred_one():
    sample = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert grain(sample, sample) == pytest.approx(1)
    assert 0 < grain(torch.nn.functional.avg_pool2d(sample, 3, 1, 1), sample) < 0.3


def test_a_checkpoint_of_another_training_is_not_resumed(tmp_path):
    model, config = torch.nn.Linear(1, 1), LoopConfig(minutes=10, max_steps=1)
    path = tmp_path / "decoder.pt"
    Loop({"vae": model}, config, path).run(
        lambda _: (model(torch.ones(1, 1)).sum(), {}), Log(tmp_path / "log")
    )
    with pytest.raises(GspnError, match=r"decoder\.pt is the checkpoint of another training; move it away"):
        Loop({"vae": model}, config, path, {"critic": Discriminator(channels=(8,))})


LAYOUTS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_muon_steps_a_filter_along_its_orthogonal_gradient(layout):
    filters = torch.nn.Conv2d(6, 10, 3, bias=False).to(memory_format=layout).weight
    before, gradient = filters.detach().clone(), torch.randn(10, 6, 3, 3)
    optimizer = Muon([filters], lr=0.1)
    filters.grad = gradient.clone(memory_format=layout)
    optimizer.step()
    update = (before - filters.detach()).flatten(1)
    left, _, right = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
    assert torch.nn.functional.cosine_similarity(update.flatten(), (left @ right).flatten(), dim=0) > 0.95
    # Singular values near 1, times the rate that gives AdamW's root mean square.
    strengths = torch.linalg.svdvals(update) / (0.1 * 0.2 * 54**0.5)
    assert 0.6 < strengths.min() <= strengths.max() < 1.3
    optimizer.zero_grad()
    assert filters.grad is None
    optimizer.step()
    torch.testing.assert_close((before - filters.detach()).flatten(1), update)


def test_muon_refuses_a_weight_that_has_moved():
    layer = torch.nn.Conv2d(4, 4, 3)
    optimizer = Muon([layer.weight], lr=0.1)
    layer.to(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="make the optimizer last"):
        optimizer.step()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_muon_goes_on_from_a_state_of_before_it_was_the_one_of_torch(layout):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=layout)
    gradients = torch.randn(2, 4, 3, 3, 3)
    momentum = torch.zeros_like(layer.weight).lerp_(gradients[0], 1 - 0.95)
    group = {"lr": 0.01, "momentum": 0.95, "weight_decay": 0.0, "params": [0]}
    ours, other = Muon([layer.weight], lr=0.01), torch.nn.Conv2d(3, 4, 3).to(memory_format=layout)
    ours.load_state_dict({"state": {0: {"momentum": momentum}}, "param_groups": [group]})
    with torch.no_grad():
        other.weight.copy_(layer.weight)
    whole = Muon([other.weight], lr=0.0)
    other.weight.grad = gradients[0].clone(memory_format=layout)
    whole.step()
    whole.param_groups[0]["lr"] = 0.01
    layer.weight.grad, other.weight.grad = (gradients[1].clone(memory_format=layout) for _ in "ab")
    before = layer.weight.detach().clone()
    ours.step()
    whole.step()
    torch.testing.assert_close(layer.weight, other.weight)
    assert not torch.equal(layer.weight, before)


def test_the_average_forgets_where_a_training_began(tmp_path):
    model = torch.nn.Linear(1, 1, bias=False)
    config = LoopConfig(minutes=10, max_steps=4, average_decay=0.5)
    loop = Loop({"line": model}, config, tmp_path / "line.pt")

    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        with torch.no_grad():
            model.weight.fill_(float(number))
        return 0 * model.weight.sum(), {}

    loop.run(step, Log(tmp_path / "log"))
    # Decays of 3/12, 4/13 and 5/14 after the initial weights.
    expected = 0.0
    for number, decay in ((1, 3 / 12), (2, 4 / 13), (3, 5 / 14)):
        expected = decay * expected + (1 - decay) * number
    assert loop.averages["line"].weight.item() == pytest.approx(expected, rel=1e-3)
    again = Loop({"line": torch.nn.Linear(1, 1, bias=False)}, config, tmp_path / "line.pt")
    assert torch.equal(again.averages["line"].weight, loop.averages["line"].weight)
    longer = replace(config, max_steps=5)
    Loop({"line": model}, longer, tmp_path / "line.pt").run(step, Log(tmp_path / "log"))
    resumed = torch.load(tmp_path / "line.pt", weights_only=True)["averages"]["line"]["weight"]
    assert resumed.item() == pytest.approx(6 / 15 * expected + 9 / 15 * 4, rel=1e-3)


def test_a_checkpoint_of_before_is_resumed(tmp_path):
    config = LoopConfig(minutes=10, max_steps=1)
    path, kept = tmp_path / "decoder.pt", Discriminator(channels=(8,))
    model = torch.nn.Linear(1, 1)
    Loop({"vae": model}, config, path, {"critic": kept}).run(
        lambda _: (model(torch.ones(1, 1)).sum(), {}), Log(tmp_path / "log")
    )
    state = torch.load(path, weights_only=True)
    state["beside"] = state.pop("stateful")
    torch.save(state, path)
    other = Discriminator(channels=(8,))
    assert Loop({"vae": model}, config, path, {"critic": other}).step == 1
    assert torch.equal(other.net[0][0].weight, kept.net[0][0].weight)


def test_muon_leaves_edges_embeddings_and_biases_to_adamw(toy_nets):
    unet = build_unet(toy_nets)
    encoders = build_text_encoders(toy_nets, build_tokenizer(["hills"]))
    hidden, other = splits([unet, *encoders])
    assert all(weight.ndim >= 2 for weight in hidden)
    names = {id(weight): name for part in (unet, *encoders) for name, weight in part.named_parameters()}
    left = {names[id(weight)] for weight in other}
    assert {"conv_in.weight", "conv_out.weight"} <= left
    assert any("token_embedding" in name for name in left)
    assert not any("attn1" in name for name in left if not name.endswith("bias"))
    total = sum(1 for part in (unet, *encoders) for _ in part.parameters())
    assert len(hidden) + len(other) == total
