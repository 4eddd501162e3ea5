"""The critic of patches: it learns, its complaint teaches another, and its state is kept."""

import torch
from torch import nn

from gspn_core.training.critic import MOST_WEIGHT, Critic, balance
from gspn_core.training.log import Log
from gspn_core.training.loop import Loop, LoopConfig


def drawn(step: int) -> torch.Tensor:
    """Return pictures of stripes one pixel wide, in a phase of their own."""
    phase = torch.randint(0, 2, (4, 1, 1, 1), generator=torch.Generator().manual_seed(step))
    rows = torch.arange(32).view(1, 1, 32, 1)
    return (((rows + phase) % 2) * 1.2 - 0.6).expand(4, 3, 32, 32).contiguous()


def test_it_learns_to_tell_blurred_pictures_from_drawn_ones():
    torch.manual_seed(0)
    critic = Critic(channels=(8, 16))
    blurred = [nn.functional.avg_pool2d(drawn(step), 3, 1, 1) for step in range(30)]
    apart = [critic.judge(drawn(step), blurred[step]) for step in range(30)]
    assert apart[-1] > apart[0] + 0.5
    assert critic.complaint(drawn(99), blurred[0]) > critic.complaint(drawn(99), drawn(98))


def test_its_complaint_teaches_the_decoder_and_not_itself():
    torch.manual_seed(0)
    critic = Critic(channels=(8, 16))
    before = [weight.clone() for weight in critic.net.parameters()]
    decoded = (drawn(0) * 0.2).requires_grad_(True)
    critic.complaint(drawn(0), decoded).backward()
    assert decoded.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in critic.net.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, critic.net.parameters(), strict=True))


def test_the_balance_makes_two_gradients_equally_long():
    last = nn.Parameter(torch.tensor([1.0, 2.0]))
    loss, complaint = (3 * last).sum(), (0.5 * last).sum()
    assert abs(balance(loss, complaint, last) - 6) < 1e-4
    assert balance(loss, (0 * last).sum(), last) == MOST_WEIGHT


def test_a_loop_keeps_its_state_beside_the_modules(tmp_path):
    torch.manual_seed(0)
    net, critic = nn.Conv2d(3, 3, 1), Critic(channels=(8,))
    config = LoopConfig(minutes=1, max_steps=3)

    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        decoded = net(drawn(number))
        critic.judge(drawn(number), decoded)
        return critic.complaint(drawn(number), decoded), {}

    Loop({"net": net}, config, tmp_path / "loop.pt", {"critic": critic}).run(
        step, Log(tmp_path / "log.jsonl")
    )
    other = Critic(channels=(8,))
    loop = Loop({"net": nn.Conv2d(3, 3, 1)}, config, tmp_path / "loop.pt", {"critic": other})
    assert loop.step == 3
    for name, kept in critic.net.state_dict().items():
        assert torch.equal(kept, other.net.state_dict()[name])
    assert other.optimizer.state_dict()["state"][0]["step"] == 3
