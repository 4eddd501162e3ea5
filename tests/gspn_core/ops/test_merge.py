"""Merged line scans: what the compiled backend adds up against the naive backend's states, added in torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gspn_core.ops import merge_line_scan
from gspn_core.ops.prepare import DIRECTIONS, GATINGS

# Largest error allowed relative to the largest value, against the formula in float64.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 8e-3}


def make_inputs(shape, *, sets, dtype=torch.float32):
    B, _C, H, W = shape
    random = torch.Generator().manual_seed(3)
    y, share, x, gate = (torch.randn(shape, generator=random).to(dtype) for _ in range(4))
    return y, share, x, gate, (3 * torch.randn(B, sets, 3, H, W, generator=random)).to(dtype)


def error(got, inputs, **options):
    wanted = merge_line_scan(*(tensor.double() for tensor in inputs), backend="naive", **options)
    return ((got.double() - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("gating", GATINGS)
@pytest.mark.parametrize("chunk_size", [None, 4])
def test_a_merge_adds_share_times_the_states_in_place(direction, gating, chunk_size):
    options = {"direction": direction, "gating": gating, "chunk_size": chunk_size}
    for shape, sets in (((2, 4, 19, 21), 2), ((1, 4, 17, 5), 4), ((1, 3, 2, 7), 1), ((1, 1, 1, 1), 1)):
        inputs = make_inputs(shape, sets=sets)
        y = inputs[0].clone()
        got = merge_line_scan(y, *inputs[1:], backend="cpu", **options)
        assert got is y
        assert error(got, inputs, **options) < TOLERANCE[torch.float32], shape


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("direction", ["up", "left"])
def test_a_merge_keeps_the_dtype_and_its_rounding(dtype, direction):
    options = {"direction": direction, "gating": "convex"}
    inputs = make_inputs((1, 4, 20, 24), sets=2, dtype=dtype)
    got = merge_line_scan(inputs[0].clone(), *inputs[1:], backend="cpu", **options)
    assert got.dtype == dtype
    assert error(got, inputs, **options) < TOLERANCE[dtype]


def test_gates_far_from_zero_are_shut_and_open():
    y, share, x, gate, logits = make_inputs((1, 2, 18, 16), sets=1)
    options = {"direction": "down", "gating": "convex", "backend": "cpu"}
    shut = merge_line_scan(y.clone(), share, x, torch.full_like(gate, -1e4), logits, **options)
    opened = merge_line_scan(y.clone(), share, x, torch.full_like(gate, 1e4), logits, **options)
    assert torch.allclose(opened, y + share * x, atol=1e-6)
    # With all gates shut but the first line's, every state is a weighted mean of that line.
    states = (shut - y)[..., 1:, :] / share[..., 1:, :]
    assert (states.abs().amax((2, 3)) <= x[..., 0, :].abs().amax(-1) * (1 + 1e-4)).all()


@pytest.mark.parametrize("direction", ["down", "right"])
def test_bfloat16_states_round_to_the_nearest_and_keep_what_is_not_a_number(direction):
    _, _, x, gate, logits = make_inputs((1, 1, 16, 16), sets=1, dtype=torch.bfloat16)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    options = {"direction": direction, "chunk_size": 1, "backend": "cpu"}
    x[..., 2, 3], x[..., 4, 5] = math.nan, math.inf
    got = merge_line_scan(zero, one, x, gate, logits, **options)
    assert torch.equal(got.nan_to_num(nan=7.0), (x.float() * gate.float()).bfloat16().nan_to_num(nan=7.0))
    assert got[..., 2, 3].isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_of_one_projection_are_read_where_they_lie(dtype):
    options = {"direction": "left", "gating": "convex", "backend": "cpu"}
    y, share, x, gate, logits = make_inputs((2, 4, 20, 24), sets=2, dtype=dtype)
    whole = torch.cat([logits.flatten(1, 2), gate, share], 1).flatten(2)
    parts = [part.unflatten(2, (20, 24)) for part in whole.split((6, 4, 4), 1)]
    assert not any(part.is_contiguous() for part in parts)
    wanted = merge_line_scan(y.clone(), share, x, gate, logits, **options)
    merged = y.clone()
    with profile(activities=[ProfilerActivity.CPU]) as record:
        merge_line_scan(merged, parts[2], x, parts[1], parts[0].unflatten(1, (2, 3)), **options)
    assert torch.equal(merged, wanted)
    assert not any(event.name in ("aten::copy_", "aten::clone") for event in record.events())
