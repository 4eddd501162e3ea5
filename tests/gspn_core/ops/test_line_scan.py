"""The line scan: the naive backend against a loop over cells, every other backend against the naive one."""

from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gspn_core.errors import BadSetting, BadTensor
from gspn_core.ops import line_scan
from gspn_core.ops.cpu import threads
from gspn_core.ops.naive import neighbour_weights
from gspn_core.ops.prepare import DIRECTIONS, GATINGS

# Largest error allowed relative to the largest value: rounding of the storage, not of the carry.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
FAST = ("cpu",)
SHAPES = ((1, 1, 1, 1), (2, 3, 5, 7), (1, 2, 17, 3), (1, 2, 3, 37), (2, 2, 1, 18), (2, 2, 18, 1))


@pytest.fixture(autouse=True)
def _empty_is_nan():
    """Fill what torch.empty returns with NaN, so that a cell that is never written is seen."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def make_inputs(shape, *, shared=False, dtype=torch.float32, seed=0, spread=3.0):
    B, C, H, W = shape
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(B, C, H, W, generator=random).to(dtype)
    gate = torch.rand(B, C, H, W, generator=random).to(dtype)
    logits = (spread * torch.randn(B, 1 if shared else C, 3, H, W, generator=random)).to(dtype)
    return x, gate, logits


def with_gradients(inputs, **options):
    """Return the scan and the gradients of x, gate and logits for a fixed incoming gradient."""
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    result = line_scan(*inputs, **options)
    incoming = torch.randn(result.shape, generator=torch.Generator().manual_seed(7)).to(result.dtype)
    result.backward(incoming)
    grads = [torch.zeros_like(t) if t.grad is None else t.grad for t in inputs]
    return dict(zip(("h", "x", "gate", "logits"), (result.detach(), *grads), strict=True))


def relative_error(got, wanted):
    got, wanted = got.double(), wanted.double()
    assert not got.isnan().any()
    return (got - wanted).abs().max().item() / max(wanted.abs().max().item(), 1e-3)


def scan_cell_by_cell(x, gate, logits, *, direction, chunk_size, gating):
    """The formula for one map of floats (H, W), cell after cell, with no regard for speed."""
    H, W = x.shape
    columns = direction in ("right", "left")
    lines, length = (W, H) if columns else (H, W)
    order = range(lines) if direction in ("right", "down") else range(lines - 1, -1, -1)
    h = torch.zeros(H, W, dtype=torch.float64)
    for step, i in enumerate(order):
        for j in range(length):
            here = (j, i) if columns else (i, j)
            mean = 0.0
            if step % (chunk_size or lines):
                before = order[step - 1]
                there = [k for k in (-1, 0, 1) if 0 <= j + k < length]
                sigmoids = [1 / (1 + math.exp(-logits[(k + 1, *here)].item())) for k in there]
                states = [h[(j + k, before) if columns else (before, j + k)].item() for k in there]
                mean = sum(s * v for s, v in zip(sigmoids, states, strict=True)) / sum(sigmoids)
            keep = 1 - gate[here].item() if gating == "convex" else 1
            h[here] = keep * mean + gate[here].item() * x[here].item()
    return h


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("gating", GATINGS)
@pytest.mark.parametrize("chunk_size", [None, 1, 2, 4])
def test_naive_is_the_formula_cell_by_cell(direction, gating, chunk_size):
    x, gate, logits = make_inputs((1, 1, 5, 7), dtype=torch.float64)
    options = {"direction": direction, "chunk_size": chunk_size, "gating": gating}
    wanted = scan_cell_by_cell(x[0, 0], gate[0, 0], logits[0, 0], **options)
    assert relative_error(line_scan(x, gate, logits, backend="naive", **options)[0, 0], wanted) < 1e-13


@pytest.mark.parametrize("backend", ["naive", *FAST])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("gating", GATINGS)
def test_gradients_agree_with_finite_differences(backend, direction, gating):
    for shared in (False, True):
        inputs = make_inputs((1, 2, 3, 4), shared=shared, dtype=torch.float64, spread=1.0)
        inputs = [tensor.requires_grad_() for tensor in inputs]

        def scan(*inputs):
            return line_scan(*inputs, direction=direction, chunk_size=3, gating=gating, backend=backend)

        assert torch.autograd.gradcheck(scan, inputs)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("gating", GATINGS)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("chunk_size", [None, 1, 4, 5, 100])
def test_backend_agrees_with_naive(backend, direction, gating, shared, chunk_size):
    options = {"direction": direction, "chunk_size": chunk_size, "gating": gating}
    for shape in SHAPES:
        inputs = make_inputs(shape, shared=shared)
        wanted = with_gradients(inputs, backend="naive", **options)
        got = with_gradients(inputs, backend=backend, **options)
        errors = {name: relative_error(got[name], wanted[name]) for name in wanted}
        assert max(errors.values()) < TOLERANCE[torch.float32], (shape, errors)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_backend_agrees_with_naive_in_every_dtype(backend, dtype):
    inputs = make_inputs((2, 2, 19, 6), dtype=dtype)
    wanted = with_gradients(inputs, direction="down", gating="convex", backend="naive")
    got = with_gradients(inputs, direction="down", gating="convex", backend=backend)
    for name in wanted:
        assert got[name].dtype == dtype
        assert relative_error(got[name], wanted[name]) < TOLERANCE[dtype], name


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("direction", ["right", "left"])
@pytest.mark.parametrize("shape", [(1, 2, 1031, 37), (2, 1, 33, 21), (1, 1, 64, 300)])
def test_columns_are_joined_across_blocks(backend, direction, shape):
    inputs = make_inputs(shape, shared=True)
    wanted = with_gradients(inputs, direction=direction, backend="naive")
    got = with_gradients(inputs, direction=direction, backend=backend)
    for name in wanted:
        assert relative_error(got[name], wanted[name]) < TOLERANCE[torch.float32], name


@pytest.mark.parametrize("backend", ["naive", *FAST])
def test_empty_batch_gives_empty_result_and_gradients(backend):
    for shape in ((0, 3, 4, 5), (2, 0, 4, 5)):
        got = with_gradients(make_inputs(shape, shared=True), direction="left", backend=backend)
        assert got["h"].shape == got["gate"].shape == shape
        assert got["logits"].eq(0).all()


@pytest.mark.parametrize("backend", FAST)
def test_non_contiguous_inputs_give_the_same(backend):
    x, gate, logits = make_inputs((2, 4, 6, 5))
    wanted = with_gradients((x, gate, logits), direction="right", backend=backend)
    scattered = (
        x.to(memory_format=torch.channels_last),
        gate.mT.contiguous().mT,
        torch.stack([logits, logits], -1)[..., 1],
    )
    assert not any(tensor.is_contiguous() for tensor in scattered)
    got = with_gradients(scattered, direction="right", backend=backend)
    for name in wanted:
        assert torch.equal(got[name], wanted[name]), name


@pytest.mark.parametrize("backend", ["naive", *FAST])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_impulse_reaches_exactly_its_cone_downstream(backend, direction):
    H, W, row, column = 7, 9, 3, 5
    _, _, logits = make_inputs((1, 1, H, W))
    x = torch.zeros(1, 1, H, W)
    x[..., row, column] = 1
    h = line_scan(x, torch.ones_like(x), logits, direction=direction, backend=backend)
    r, c = torch.arange(H)[:, None] - row, torch.arange(W)[None, :] - column
    along, across = {"right": (c, r), "left": (-c, r), "down": (r, c), "up": (-r, c)}[direction]
    assert torch.equal(h[0, 0] != 0, (along >= 0) & (across.abs() <= along))


@pytest.mark.parametrize("backend", ["naive", *FAST])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_convex_keeps_a_constant_when_it_starts_from_it(backend, direction):
    _, gate, logits = make_inputs((1, 2, 40, 40))
    x = torch.full_like(gate, -2.5)
    axis, line = {"right": (3, 0), "left": (3, 39), "down": (2, 0), "up": (2, 39)}[direction]
    gate.select(axis, line).fill_(1)
    h = line_scan(x, gate, logits, direction=direction, gating="convex", backend=backend)
    assert relative_error(h, x) < 1e-6


@pytest.mark.parametrize("backend", ["naive", *FAST])
def test_convex_is_bounded_by_the_largest_value_at_any_length(backend):
    x, gate, logits = make_inputs((1, 1, 512, 8), spread=10.0)
    h = line_scan(x, gate, logits, direction="down", gating="convex", backend=backend)
    assert h.abs().max() <= x.abs().max()


@pytest.mark.parametrize("backend", ["naive", *FAST])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_free_gate_of_one_counts_the_lines(backend, direction):
    _, _, logits = make_inputs((1, 1, 64, 64))
    ones = torch.ones(1, 1, 64, 64)
    h = line_scan(ones, ones, logits, direction=direction, backend=backend)
    assert h.max().item() == pytest.approx(64, rel=1e-6)
    assert h.min().item() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("backend", ["naive", *FAST])
@pytest.mark.parametrize("gating", GATINGS)
def test_chunks_of_one_line_have_no_memory(backend, gating):
    x, gate, logits = make_inputs((1, 2, 5, 6))
    h = line_scan(x, gate, logits, direction="up", chunk_size=1, gating=gating, backend=backend)
    assert torch.equal(h, gate * x)


def test_neighbour_weights_sum_to_one_and_skip_the_missing():
    for across in (-1, -2):
        logits = make_inputs((1, 2, 4, 6))[2]
        weights = neighbour_weights(logits, across=across)
        assert (weights.sum(2) - 1).abs().max() < 1e-6
        assert weights[:, :, 0].select(across, 0).eq(0).all()
        assert weights[:, :, 2].select(across, -1).eq(0).all()


@pytest.mark.parametrize("backend", ["naive", *FAST])
@pytest.mark.parametrize("low", [-80.0, -1e4])
def test_logits_far_below_zero_still_weigh_by_their_quotient(backend, low):
    x, gate, _ = make_inputs((1, 1, 2, 5))
    logits = torch.full((1, 1, 3, 2, 5), low)
    got = with_gradients((x, gate, logits), direction="down", backend=backend)
    wanted = (x[..., 0, 1:4] * gate[..., 0, 1:4]).mean() + x[..., 1, 2] * gate[..., 1, 2]
    assert got["h"][..., 1, 2].item() == pytest.approx(wanted.item(), abs=1e-6)
    assert all(tensor.isfinite().all() for tensor in got.values())


@pytest.mark.parametrize("backend", FAST)
def test_logits_of_mixed_extremes_agree_with_naive(backend):
    x, gate, logits = make_inputs((1, 1, 6, 30))
    logits = torch.tensor([-300.0, -45.0, 0.0, 45.0, 300.0])[
        torch.randint(5, logits.shape, generator=torch.Generator().manual_seed(1))
    ]
    wanted = with_gradients((x, gate, logits), direction="down", backend="naive")
    got = with_gradients((x, gate, logits), direction="down", backend=backend)
    for name in wanted:
        assert relative_error(got[name], wanted[name]) < TOLERANCE[torch.float32], name


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("direction", ["down", "left"])
def test_what_is_not_a_number_is_seen_where_the_formula_shows_it(backend, direction):
    for place, channels in ((0, 1), (1, 2), (2, 1)):
        inputs = make_inputs((1, channels, 20, 18), shared=True)
        inputs[place][..., 3, 15] = math.nan
        got, wanted = (line_scan(*inputs, direction=direction, backend=name) for name in (backend, "naive"))
        assert torch.equal(got.isnan(), wanted.isnan())
        assert wanted.isnan().any()


@pytest.mark.parametrize("backend", ["naive", *FAST])
def test_half_precision_storage_is_carried_in_float32(backend):
    x, _, logits = make_inputs((1, 1, 256, 3), dtype=torch.bfloat16)
    gate = torch.full_like(x, 1 / 128)
    h = line_scan(x.abs(), gate, logits, direction="down", backend=backend)
    wanted = line_scan(*(t.double() for t in (x.abs(), gate, logits)), direction="down", backend="naive")
    # One rounding to bfloat16 at the end is at most 2^-8.
    assert ((h.double() - wanted) / wanted).abs().max() <= 2**-8


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(
    ("shape", "shared"), [((3, 2, 8, 9), False), ((1, 5, 8, 9), True), ((3, 5, 8, 9), True)]
)
def test_any_number_of_threads_gives_the_same(backend, shape, shared, monkeypatch):
    inputs = make_inputs(shape, shared=shared)
    wanted = with_gradients(inputs, direction="left", gating="convex", backend=backend)
    monkeypatch.setattr(threads, "NUMBERS_PER_THREAD", 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        got = with_gradients(inputs, direction="left", gating="convex", backend=backend)
    finally:
        torch.set_num_threads(before)
    for name in ("h", "x", "gate"):
        assert torch.equal(got[name], wanted[name]), name
    assert relative_error(got["logits"], wanted["logits"]) < 1e-6


@pytest.mark.parametrize("backend", FAST)
def test_calls_from_several_threads_do_not_disturb_each_other(backend, monkeypatch):
    monkeypatch.setattr(threads, "NUMBERS_PER_THREAD", 1)
    inputs = [make_inputs((2, 3, 9, 8), seed=seed) for seed in range(8)]

    def scan(tensors):
        return line_scan(*tensors, direction="right", backend=backend)

    wanted = [scan(tensors) for tensors in inputs]
    with ThreadPoolExecutor(4) as pool:
        for got, alone in zip(pool.map(scan, inputs), wanted, strict=True):
            assert torch.equal(got, alone)


@pytest.mark.parametrize("backend", FAST)
def test_inference_mode_gives_the_same(backend):
    inputs = make_inputs((1, 2, 5, 6))
    wanted = line_scan(*inputs, direction="up", backend=backend)
    with torch.inference_mode():
        got = line_scan(*(tensor.clone() for tensor in inputs), direction="up", backend=backend)
    assert got.is_inference()
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("backend", ["naive", *FAST])
def test_only_inputs_that_want_gradients_get_them(backend):
    x, gate, logits = make_inputs((1, 2, 5, 6))
    assert not line_scan(x, gate, logits, direction="down", backend=backend).requires_grad
    logits.requires_grad_()
    line_scan(x, gate, logits, direction="down", backend=backend).sum().backward()
    assert logits.grad is not None
    assert x.grad is None


def test_auto_is_the_compiled_backend_on_the_cpu():
    inputs = make_inputs((1, 2, 6, 5))
    auto = line_scan(*inputs, direction="down")
    assert torch.equal(auto, line_scan(*inputs, direction="down", backend="cpu"))


def test_importing_neither_compiles_nor_imports_numba_or_triton():
    code = "import sys, gspn_core.ops; sys.exit('numba' in sys.modules or 'triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"direction": "north"}, BadSetting, "direction must be one of right, left, down, up, got 'north'"),
        ({"gating": "open"}, BadSetting, "gating must be one of free, convex, got 'open'"),
        ({"backend": "fast"}, BadSetting, "backend must be one of auto, naive, cpu, triton, got 'fast'"),
        ({"chunk_size": 0}, BadSetting, "chunk_size must be at least 1 line, got 0"),
        ({"x": torch.zeros(2, 3, 4)}, BadTensor, "x must be .B, C, H, W."),
        ({"x": torch.zeros(1, 2, 0, 4)}, BadTensor, "at least one line"),
        ({"gate": torch.zeros(1, 2, 4, 5)}, BadTensor, "gate must have the shape of x"),
        ({"logits": torch.zeros(1, 3, 5, 4)}, BadTensor, "logits must be"),
        ({"logits": torch.zeros(1, 2, 2, 5, 4)}, BadTensor, "logits must be"),
        ({"x": torch.zeros(1, 2, 5, 4, dtype=torch.float64)}, BadTensor, "one floating dtype"),
        ({"x": torch.zeros(1, 2, 5, 4, device="meta")}, BadTensor, "on one device"),
    ],
)
def test_refusals_are_one_sentence_with_the_name(change, error, words):
    x, gate, logits = make_inputs((1, 2, 5, 4))
    call = {"x": x, "gate": gate, "logits": logits, "direction": "down"} | change
    with pytest.raises(error, match=words):
        line_scan(call.pop("x"), call.pop("gate"), call.pop("logits"), **call)


def test_compiled_backend_refuses_tensors_elsewhere():
    inputs = [tensor.to("meta") for tensor in make_inputs((1, 2, 5, 4))]
    with pytest.raises(BadSetting, match="backend 'cpu' needs tensors on the cpu, got meta; use 'auto'"):
        line_scan(*inputs, direction="down", backend="cpu")


def test_integer_tensors_are_refused():
    inputs = [tensor.to(torch.int32) for tensor in make_inputs((1, 2, 5, 4))]
    with pytest.raises(BadTensor, match="one floating dtype"):
        line_scan(*inputs, direction="down")
