"""The patch discriminator: it learns, its loss trains a decoder, and its state is saved."""

import torch
from torch import nn

from gspn_core.training.discriminator import MOST_WEIGHT, Discriminator, adaptive_weight
from gspn_core.training.log import Log
from gspn_core.training.loop import Loop, LoopConfig


def striped(step: int) -> torch.Tensor:
    """Return pictures of stripes one pixel wide, with random phases."""
    phase = torch.randint(0, 2, (4, 1, 1, 1), generator=torch.Generator().manual_seed(step))
    rows = torch.arange(32).view(1, 1, 32, 1)
    return (((rows + phase) % 2) * 1.2 - 0.6).expand(4, 3, 32, 32).contiguous()


def test_it_learns_to_tell_blurred_pictures_from_sharp_ones():
    torch.manual_seed(0)
    discriminator = Discriminator(channels=(8, 16))
    blurred = [nn.functional.avg_pool2d(striped(step), 3, 1, 1) for step in range(30)]
    apart = [discriminator.discriminator_step(striped(step), blurred[step]) for step in range(30)]
    assert apart[-1] > apart[0] + 0.5
    assert discriminator.generator_loss(striped(99), blurred[0]) > discriminator.generator_loss(
        striped(99), striped(98)
    )


def test_the_generator_loss_teaches_the_decoder_and_not_the_discriminator():
    torch.manual_seed(0)
    discriminator = Discriminator(channels=(8, 16))
    before = [weight.clone() for weight in discriminator.net.parameters()]
    decoded = (striped(0) * 0.2).requires_grad_(True)
    discriminator.generator_loss(striped(0), decoded).backward()
    assert decoded.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in discriminator.net.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, discriminator.net.parameters(), strict=True))


def test_the_adaptive_weight_makes_two_gradients_equally_long():
    last = nn.Parameter(torch.tensor([1.0, 2.0]))
    loss, other = (3 * last).sum(), (0.5 * last).sum()
    assert abs(adaptive_weight(loss, other, last) - 6) < 1e-4
    assert adaptive_weight(loss, (0 * last).sum(), last) == MOST_WEIGHT


def test_a_loop_keeps_its_state_with_the_modules(tmp_path):
    torch.manual_seed(0)
    net, discriminator = nn.Conv2d(3, 3, 1), Discriminator(channels=(8,))
    config = LoopConfig(minutes=1, max_steps=3)

    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        decoded = net(striped(number))
        discriminator.discriminator_step(striped(number), decoded)
        return discriminator.generator_loss(striped(number), decoded), {}

    Loop({"net": net}, config, tmp_path / "loop.pt", {"critic": discriminator}).run(
        step, Log(tmp_path / "log.jsonl")
    )
    other = Discriminator(channels=(8,))
    loop = Loop({"net": nn.Conv2d(3, 3, 1)}, config, tmp_path / "loop.pt", {"critic": other})
    assert loop.step == 3
    for name, kept in discriminator.net.state_dict().items():
        assert torch.equal(kept, other.net.state_dict()[name])
    assert other.optimizer.state_dict()["state"][0]["step"] == 3
