"""The Triton backend against the naive one: on a card, or in the interpreter, as `test_triton` runs it."""

from __future__ import annotations

import os

import pytest
import torch

from gspn_core.attention.gspn import GSPNConfig, GSPNMixer
from gspn_core.errors import BadSetting
from gspn_core.ops import line_scan, merge_line_scan
from gspn_core.ops.prepare import DIRECTIONS, GATINGS

ON_A_CARD = torch.cuda.is_available()
DEVICE = "cuda" if ON_A_CARD else "cpu"
pytestmark = pytest.mark.skipif(
    not ON_A_CARD and os.environ.get("TRITON_INTERPRET") != "1",
    reason="needs a CUDA card or TRITON_INTERPRET=1; test_triton runs it in the interpreter",
)

# Largest error allowed relative to the largest value: rounding of the storage, not of the carry.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
# Shape, whether the logits are shared, lines between restarts: a single cell, primes, chunks that divide and
# that do not, and a map whose lines fill whole blocks. Each scan of CASES meets every direction and gating.
CASES = (
    ((1, 1, 1, 1), False, None),
    ((2, 2, 3, 5), False, None),
    ((1, 3, 5, 3), True, 2),
    ((1, 1, 8, 8), True, 4),
)


@pytest.fixture(autouse=True)
def _empty_is_nan():
    """Fill what torch.empty returns with NaN, so that a cell that is never written is seen."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def make_inputs(shape, *, sets=None, dtype=torch.float32, seed=0, spread=3.0):
    B, C, H, W = shape
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(B, C, H, W, generator=random)
    gate = torch.rand(B, C, H, W, generator=random)
    logits = spread * torch.randn(B, C if sets is None else sets, 3, H, W, generator=random)
    return tuple(tensor.to(DEVICE, dtype) for tensor in (x, gate, logits))


def with_gradients(inputs, **options):
    """Return the scan and the gradients of x, gate and logits for a fixed incoming gradient."""
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    result = line_scan(*inputs, **options)
    incoming = torch.randn(result.shape, generator=torch.Generator().manual_seed(7)).to(result)
    result.backward(incoming)
    # Where no line takes from another the naive scan does not depend on the logits.
    grads = [torch.zeros_like(t) if t.grad is None else t.grad for t in inputs]
    return dict(zip(("h", "x", "gate", "logits"), (result.detach(), *grads), strict=True))


def relative_error(got, wanted):
    got, wanted = got.double(), wanted.double()
    assert not got.isnan().any()
    return (got - wanted).abs().max().item() / max(wanted.abs().max().item(), 1e-3)


def assert_agrees(inputs, **options):
    wanted = with_gradients(inputs, backend="naive", **options)
    got = with_gradients(inputs, backend="triton", **options)
    for name in wanted:
        assert got[name].dtype == inputs[0].dtype
        error = relative_error(got[name], wanted[name])
        assert error < TOLERANCE[inputs[0].dtype], (name, error, tuple(inputs[0].shape), options)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("gating", GATINGS)
def test_it_agrees_with_naive_gradients_included(direction, gating):
    for shape, shared, chunk_size in CASES:
        inputs = make_inputs(shape, sets=1 if shared else None)
        assert_agrees(inputs, direction=direction, gating=gating, chunk_size=chunk_size)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("direction", ["left", "down"])
def test_it_agrees_in_every_dtype(dtype, direction):
    inputs = make_inputs((1, 2, 5, 9), dtype=dtype)
    assert_agrees(inputs, direction=direction, gating="convex")
    # Without gradients the states are written as they are stored.
    got = line_scan(*inputs, direction=direction, gating="convex", backend="triton")
    wanted = line_scan(*inputs, direction=direction, gating="convex", backend="naive")
    assert got.dtype == dtype
    assert relative_error(got, wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize(
    ("direction", "chunk_size"), [*((direction, None) for direction in DIRECTIONS), ("left", 3), ("down", 3)]
)
def test_long_lines_are_cut_into_tiles_that_need_nothing_of_each_other(direction, chunk_size, monkeypatch):
    monkeypatch.setattr("gspn_core.ops.triton.scan._TILE", 16)
    monkeypatch.setattr("gspn_core.ops.triton.scan._HALO", 4)
    shape = (1, 1, 21, 6) if direction in ("right", "left") else (1, 1, 6, 21)
    assert_agrees(make_inputs(shape), direction=direction, gating="convex", chunk_size=chunk_size)


@pytest.mark.parametrize("direction", ["right", "up"])
def test_channels_that_share_logits_are_done_together(direction, monkeypatch):
    monkeypatch.setattr("gspn_core.ops.triton.scan._PROGRAMS", 1)
    assert_agrees(make_inputs((2, 3, 6, 5), sets=1), direction=direction, gating="convex")


@pytest.mark.skipif(not ON_A_CARD, reason="the interpreter takes minutes for maps of real size")
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("chunk_size", [None, 4])
@pytest.mark.parametrize("shape", [(2, 4, 509, 1021), (1, 2, 2053, 67), (1, 2, 67, 2053), (1, 8, 1024, 1024)])
def test_it_agrees_at_real_sizes_and_every_time(direction, chunk_size, shape):
    inputs = make_inputs(shape, sets=1)
    options = {"direction": direction, "gating": "convex", "chunk_size": chunk_size}
    wanted = line_scan(*inputs, backend="naive", **options)
    got = line_scan(*inputs, backend="triton", **options)
    assert relative_error(got, wanted) < 1e-5
    # A race would not come out the same twenty times.
    assert all(torch.equal(line_scan(*inputs, backend="triton", **options), got) for _ in range(20))


def test_gradients_agree_with_finite_differences():
    inputs = [
        tensor.requires_grad_() for tensor in make_inputs((1, 1, 2, 3), dtype=torch.float64, spread=1.0)
    ]

    def scan(*inputs):
        return line_scan(*inputs, direction="right", chunk_size=2, gating="convex", backend="triton")

    assert torch.autograd.gradcheck(scan, inputs)


def test_logits_of_mixed_extremes_agree():
    x, gate, logits = make_inputs((1, 1, 6, 30))
    levels = torch.tensor([-1e4, -300.0, -45.0, 0.0, 45.0, 300.0], device=DEVICE)
    choice = torch.randint(6, logits.shape, generator=torch.Generator().manual_seed(1))
    assert_agrees((x, gate, levels[choice.to(DEVICE)]), direction="down", gating="convex")


def test_an_empty_batch_gives_an_empty_result_and_gradients():
    for shape in ((0, 3, 4, 5), (2, 0, 4, 5)):
        got = with_gradients(make_inputs(shape, sets=1), direction="left", backend="triton")
        assert got["h"].shape == got["gate"].shape == shape
        assert got["logits"].eq(0).all()


def test_non_contiguous_inputs_give_the_same():
    x, gate, logits = make_inputs((2, 2, 3, 5))
    wanted = with_gradients((x, gate, logits), direction="right", backend="triton")
    scattered = (
        x.to(memory_format=torch.channels_last),
        gate.mT.contiguous().mT,
        torch.stack([logits, logits], -1)[..., 1],
    )
    assert not any(tensor.is_contiguous() for tensor in scattered)
    got = with_gradients(scattered, direction="right", backend="triton")
    for name in wanted:
        assert torch.equal(got[name], wanted[name]), name


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("gating", "chunk_size"), [("convex", None), ("convex", 3), ("free", 3)])
def test_merging_is_the_sum_of_shares_of_the_scan(direction, gating, chunk_size):
    x, _, logits = make_inputs((2, 4, 3, 5), sets=2)
    y, gate, share = (
        torch.randn(x.shape, generator=torch.Generator().manual_seed(k)).to(x) for k in range(3)
    )
    # As a mixer makes them: parts of one tensor, so that batches are apart.
    gate, share = torch.cat([gate, share], 1).split(4, 1)
    options = {"direction": direction, "gating": gating, "chunk_size": chunk_size}
    wanted = merge_line_scan(y.clone(), share, x, gate, logits, backend="naive", **options)
    got = merge_line_scan(y, share, x, gate, logits, backend="triton", **options)
    assert got is y
    assert relative_error(got, wanted) < TOLERANCE[torch.float32]


@pytest.mark.parametrize(
    ("shared_weights", "gating", "chunk_size"),
    [("all", "convex", None), ("heads", "free", 2), ("none", "convex", None)],
)
@torch.no_grad()
def test_a_mixer_gives_the_same_fused_and_not(shared_weights, gating, chunk_size):
    torch.manual_seed(0)
    config = GSPNConfig(shared_weights=shared_weights, gating=gating, chunk_size=chunk_size)
    mixer = GSPNMixer(8, heads=2, config=config).to(DEVICE)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens = torch.randn(1, 3 * 4, 8, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    mixer.backend = "naive"
    wanted = mixer(tokens, map_size=(3, 4))
    mixer.backend = "triton"
    for block_channels in (None, 2):
        mixer.block_channels = block_channels
        assert relative_error(mixer(tokens, map_size=(3, 4)), wanted) < 1e-5


@pytest.mark.skipif(not ON_A_CARD, reason="needs a card")
def test_auto_is_triton_on_a_card():
    inputs = make_inputs((1, 2, 6, 5))
    auto = line_scan(*inputs, direction="down")
    assert torch.equal(auto, line_scan(*inputs, direction="down", backend="triton"))


def test_tensors_elsewhere_are_refused():
    inputs = [tensor.to("meta") for tensor in make_inputs((1, 2, 5, 4))]
    with pytest.raises(BadSetting, match="backend 'triton' needs tensors on a cuda device, got meta"):
        line_scan(*inputs, direction="down", backend="triton")
