"""Training the few-step student towards true renders, at toy size."""

import shutil

import pytest
import torch

from gspn_core.errors import GspnError
from gspn_core.training.denoiser import predict_noise
from gspn_core.training.few_step import Student
from gspn_core.training.latent_discriminator import LatentDiscriminator
from gspn_core.training.refine import ADVERSARIAL_SHARE, Refinement, _balanced


@pytest.fixture
def student(trained, few_step_recipe, recorded):
    """A toy student with recordings of its teacher, and renders."""
    shutil.copytree(trained[0].data, few_step_recipe.data)
    made = Student(few_step_recipe)
    recorded(made, 4)
    return made


def test_it_learns_from_the_averaged_student_and_goes_on_where_it_ended(student):
    before = student.train(batch=2).averages["unet"].state_dict()
    again = Student(student.recipe)
    refinement = Refinement(again, minutes=5)
    for name, weight in again.modules["unet"].state_dict().items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0)
    heads = [weight.clone() for weight in refinement.discriminator.heads.parameters()]
    refinement.run(batch=2)
    assert refinement.loop.step == 4
    after = refinement.loop.averages["unet"].state_dict()
    assert any(not torch.equal(weight, before[name]) for name, weight in after.items())
    assert any(
        not torch.equal(weight, old)
        for weight, old in zip(refinement.discriminator.heads.parameters(), heads, strict=True)
    )
    resumed = Refinement(Student(student.recipe), minutes=5)
    assert resumed.loop.step == 4
    for name, weight in resumed.loop.averages["unet"].state_dict().items():
        torch.testing.assert_close(weight, after[name], rtol=0, atol=0)


def test_heads_learn_to_tell_two_sets_apart_and_the_teacher_stays(student):
    unet = student.modules["unet"]
    before = {name: weight.clone() for name, weight in unet.state_dict().items()}
    side, ids = student.recipe.nets.latent_px, torch.zeros(4, 6)

    def run(x, timesteps, captions):
        return predict_noise(student.modules, student.tokenizer, x, timesteps, captions, ids)

    torch.manual_seed(0)
    discriminator = LatentDiscriminator(unet, run)
    smooth = torch.randn(4, 4, side, side).cumsum(-1) / side**0.5
    rough, times, texts = torch.randn(4, 4, side, side), torch.full((4,), 100), ["a lake"] * 4
    with torch.no_grad():
        pair = [discriminator.features(each, times, texts) for each in (smooth, rough)]
    gaps = [discriminator.discriminator_step(*pair) for _ in range(30)]
    assert gaps[-1] > gaps[0] + 0.1
    assert all(torch.equal(weight, before[name]) for name, weight in unet.state_dict().items())
    rough.requires_grad_(True)
    loss = discriminator.generator_loss(discriminator.features(rough, times, texts))
    (gradient,) = torch.autograd.grad(loss, rough)
    with torch.no_grad():
        moved = discriminator.generator_loss(
            discriminator.features(rough - 0.5 * gradient.sign(), times, texts)
        )
    assert moved < loss


def test_both_gradients_are_as_large_at_the_latents():
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    arrived = 2 * x
    apart, adversarial = arrived.square().mean(), 1e4 * arrived.sin().mean()
    (of_apart,) = torch.autograd.grad(apart, arrived, retain_graph=True)
    (of_adversarial,) = torch.autograd.grad(adversarial, arrived, retain_graph=True)
    (of_both,) = torch.autograd.grad(_balanced(arrived, apart, adversarial), arrived)
    rest = of_both - of_apart
    assert float(rest.norm()) == pytest.approx(ADVERSARIAL_SHARE * float(of_apart.norm()), rel=1e-3)
    cosine = torch.nn.functional.cosine_similarity(rest.flatten(), of_adversarial.flatten(), dim=0)
    assert float(cosine) > 0.999


def test_without_a_student_the_command_that_trains_it_is_named(student):
    with pytest.raises(GspnError, match="few_step train"):
        Refinement(student, minutes=1)
