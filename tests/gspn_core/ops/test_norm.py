"""Group normalization with SiLU: the kernel against the formula in float64."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from gspn_core.ops import norm as norms
from gspn_core.ops.cpu import norm
from gspn_core.ops.norm import group_norm_silu


def make_inputs(shape, groups=8, seed=0):
    """Return a map with its channels last and a mean far from zero, and the arguments that go with it."""
    random = torch.Generator().manual_seed(seed)
    B, C, _H, _W = shape
    x = 2 * torch.randn(shape, generator=random) + 5
    weight, bias, shift = (torch.randn(n, generator=random) for n in ((C,), (C,), (B, C)))
    return x.contiguous(memory_format=torch.channels_last), groups, weight, bias, shift


def formula(x, groups, weight, bias, shift, eps):
    x, weight, bias = x.double(), weight.double(), bias.double()
    if shift is not None:
        x = x + shift.double()[:, :, None, None]
    return functional.silu(functional.group_norm(x, groups, weight, bias, eps))


@pytest.fixture(autouse=True)
def _no_map_is_small(monkeypatch):
    monkeypatch.setattr(norms, "_LEAST_NUMBERS", 1 << 15)


# Large enough for the kernel: rows of several pixels and of one, blocks that are not full, odd sides.
SHAPES = ((2, 32, 64, 36), (1, 64, 33, 37), (3, 520, 9, 7), (2, 8, 129, 67), (1, 384, 16, 16))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shifted", [False, True])
@torch.inference_mode()
def test_it_is_the_formula_and_nearer_to_it_than_torch(shape, shifted):
    x, groups, weight, bias, shift = make_inputs(shape)
    shift = shift if shifted else None
    truth = formula(x, groups, weight, bias, shift, 1e-5)
    got = group_norm_silu(x, groups, weight, bias, eps=1e-5, shift=shift)
    assert got.dtype == x.dtype
    assert got.is_contiguous(memory_format=torch.channels_last)
    plain = formula(x.float(), groups, weight, bias, shift, 1e-5)
    assert (plain - truth).abs().max() < 1e-9
    torch_own = x if shift is None else x + shift[:, :, None, None]
    torch_own = functional.silu(functional.group_norm(torch_own, groups, weight, bias, 1e-5))
    error = (got - truth).abs().max()
    assert error < 5e-6
    assert error < (torch_own - truth).abs().max() + 1e-6


@torch.inference_mode()
def test_in_place_is_the_same_and_without_it_the_map_stays():
    x, groups, weight, bias, shift = make_inputs((2, 32, 64, 36))
    before = x.clone()
    got = group_norm_silu(x, groups, weight, bias, eps=1e-6, shift=shift)
    assert torch.equal(x, before)
    inplace = group_norm_silu(x, groups, weight, bias, eps=1e-6, shift=shift, inplace=True)
    assert inplace.data_ptr() == x.data_ptr()
    assert torch.equal(inplace, got)


@torch.inference_mode()
def test_any_number_of_threads_gives_the_same(monkeypatch):
    x, groups, weight, bias, _shift = make_inputs((3, 32, 64, 36))
    wanted = group_norm_silu(x, groups, weight, bias, eps=1e-5)
    monkeypatch.setattr(norm, "_NUMBERS_PER_THREAD", 1)
    before = torch.get_num_threads()
    try:
        for number in (2, 5):
            torch.set_num_threads(number)
            assert torch.equal(group_norm_silu(x, groups, weight, bias, eps=1e-5), wanted)
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def test_a_mean_much_larger_than_the_deviation_is_no_loss():
    x, groups, weight, bias, _shift = make_inputs((1, 32, 64, 64))
    x = x + 1000
    truth = formula(x, groups, weight, bias, None, 1e-5)
    assert (group_norm_silu(x, groups, weight, bias, eps=1e-5) - truth).abs().max() < 1e-3


@torch.inference_mode()
def test_what_is_not_a_number_is_seen_in_its_sample_alone():
    x, groups, weight, bias, _shift = make_inputs((2, 32, 64, 36))
    x[0, 3, 5, 5] = torch.nan
    got = group_norm_silu(x, groups, weight, bias, eps=1e-5)
    assert got[0, :4].isnan().all()
    assert not got[0, 4:].isnan().any() and not got[1].isnan().any()


@pytest.mark.parametrize("change", ["grad", "bfloat16", "channels first", "small"])
def test_other_maps_take_torchs_own_layers(change):
    x, groups, weight, bias, shift = make_inputs((2, 32, 6, 5) if change == "small" else (2, 32, 64, 36))
    if change == "bfloat16":
        x, weight, bias, shift = (t.bfloat16() for t in (x, weight, bias, shift))
    if change == "channels first":
        x = x.contiguous()
    with torch.set_grad_enabled(change == "grad"):
        got = group_norm_silu(x.requires_grad_(change == "grad"), groups, weight, bias, eps=1e-5, shift=shift)
        moved = x + shift[:, :, None, None]
        wanted = functional.silu(functional.group_norm(moved, groups, weight, bias, 1e-5))
    assert torch.equal(got, wanted)
    assert got.requires_grad == (change == "grad")


def test_importing_does_not_import_numba():
    code = "import sys, gspn_core.ops.norm; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
