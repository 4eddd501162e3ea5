"""The Triton kernels without a card: compiled for three, run in the interpreter, cut as it should be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gspn_core.errors import BadSetting
from gspn_core.ops import line_scan

triton = pytest.importorskip("triton")
HERE = Path(__file__).parent

# What differs from a global scan of rows of float32 in one tile a line.
VARIANTS = {
    "rows": {},
    "columns": {"COLUMNS": True, "num_warps": 16},
    "columns in bfloat16": {
        "COLUMNS": True, "BACKWARDS": True, "LINES": 8, "storage": "bf16", "num_warps": 16,
    },
    "merged in bfloat16": {"MERGE": True, "CHANNELS": 2, "TILE": 256, "storage": "bf16", "num_warps": 2},
    "merged columns in bfloat16": {
        "MERGE": True, "COLUMNS": True, "CHANNELS": 2, "TILE": 256, "LINES": 8, "storage": "bf16",
    },
    "backward": {"TRANSPOSED": True},
    "backward in columns": {"COLUMNS": True, "TRANSPOSED": True, "num_warps": 16},
    "ragged tiles": {"EVEN": False, "HALO": 64, "CARRIED": True, "CONVEX": False, "storage": "fp16"},
    "small": {"TILE": 4, "EVEN": False, "TRANSPOSED": True, "num_warps": 1},
    "double": {"storage": "fp64", "TILE": 64, "num_warps": 1},
}  # fmt: skip
# Those of full tiles and numbers that 16 divides, as of the maps of a model.
USUAL = tuple(VARIANTS)[:7]


def compile_kernel(kernel, constants, *, storage, carry, capability, num_warps):
    """Compile for a card that need not be there; numbers and addresses are multiples of 16, as real maps'."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    def type_of(name):
        if name in constants:
            return "constexpr"
        if name.endswith("_ptr"):
            return f"*{carry if name[:-4] in ('carried', 'carry', 'slots', 'total', 'state') else storage}"
        return "i64" if name.endswith("_batch") else "i32"

    signature = {name: type_of(name) for name in kernel.arg_names}
    aligned = [
        (index,)
        for index, name in enumerate(kernel.arg_names)
        if name not in constants
        and (name.endswith(("_ptr", "_batch")) or name in ("height", "width", "start", "stop", "span"))
    ]
    return triton.compile(
        ASTSource(kernel, signature, constants, {index: [["tt.divisibility", 16]] for index in aligned}),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": num_warps, "num_stages": 1, "enable_fp_fusion": True},
    )


def compile_carry(capability, *, storage="fp32", num_warps=8, **changes):
    from gspn_core.ops.triton import kernels

    constants = {
        "COLUMNS": False, "BACKWARDS": False, "TRANSPOSED": False, "CONVEX": True, "MERGE": False,
        "CARRIED": False, "EVEN": True, "HALO": 0, "CHANNELS": 1, "TILE": 1024, "LINES": 4,
        "DTYPE": triton.language.float64 if storage == "fp64" else triton.language.float32,
    }  # fmt: skip
    carry = "fp64" if storage == "fp64" else "fp32"
    return compile_kernel(
        kernels.carry, constants | changes, storage=storage, carry=carry, capability=capability,
        num_warps=num_warps,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Compile every time, and leave nothing in the user's cache."""
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))


@pytest.mark.parametrize("capability", [80, 90, 120])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_scan_compiles_for_cards_that_are_not_here(variant, capability):
    compiled = compile_carry(capability, **VARIANTS[variant])
    assert compiled.asm["cubin"][:4] == b"\x7fELF"
    assert f"sm_{capability}" in compiled.asm["ptx"]


@pytest.mark.parametrize("capability", [80, 90, 120])
@pytest.mark.parametrize("columns", [False, True])
def test_the_gradients_compile_for_cards_that_are_not_here(columns, capability):
    from gspn_core.ops.triton import kernels

    constants = {
        "COLUMNS": columns, "BACKWARDS": columns, "CONVEX": True, "CELLS": 512,
        "DTYPE": triton.language.float32,
    }  # fmt: skip
    compiled = compile_kernel(
        kernels.differentiate, constants, storage="bf16", carry="fp32", capability=capability, num_warps=4
    )
    assert compiled.asm["cubin"][:4] == b"\x7fELF"


@pytest.mark.parametrize("variant", USUAL)
def test_a_barrier_lies_between_leaving_a_line_and_reading_its_neighbours(variant):
    """The interpreter runs no threads and would not miss it."""
    compiled = compile_carry(90, **VARIANTS[variant])
    body = compiled.asm["ttgir"].split("scf.for", 1)[1]
    events = []
    for text in body.splitlines():
        if "barrier" in text and "loc(" in text:
            events.append("barrier")
        elif "tt.store" in text or "tt.load" in text:
            # Slots are float32 lines (channels, cells), all else has three dimensions.
            shape = text.split("tensor<", 1)[1].split("!", 1)[0]
            if shape.count("x") == 2:
                events.append("leave" if "tt.store" in text else "read")
    leaves = 2 if "TRANSPOSED" in VARIANTS[variant] else 1
    assert events == (["leave"] * leaves + ["barrier", "read", "read"]) * VARIANTS[variant].get("LINES", 4)


@pytest.mark.parametrize("variant", USUAL)
def test_a_block_stays_in_the_registers_it_was_read_into(variant):
    options = VARIANTS[variant]
    compiled = compile_carry(90, **options)
    assert compiled.metadata.shared == 0
    assert compiled.asm["ptx"].count("bar.sync") == options.get("LINES", 4)


@pytest.mark.parametrize(("storage", "lines"), [("fp32", 4), ("bf16", 8)])
def test_columns_are_read_in_sixteen_bytes_a_thread(storage, lines):
    compiled = compile_carry(90, COLUMNS=True, LINES=lines, storage=storage, num_warps=16)
    # Two fetches of five tensors, of two cells a thread.
    assert compiled.asm["ptx"].count("ld.global.v4.b32") == 2 * 5 * 2


class CardThatIsNotHere:
    """What Triton asks of a driver in order to compile a launch."""

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return -1

    def get_current_stream(self, _device):
        return 0


@pytest.fixture
def launches(monkeypatch):
    """Compile launches as Triton specialises them for their very arguments, and keep what came of them."""
    from gspn_core.ops.triton import kernels as _triton_kernels
    from gspn_core.ops.triton import scan as _triton

    compiled = []

    class Launches:
        def __init__(self, kernel):
            self.kernel = kernel

        def __getitem__(self, grid):
            return lambda *args, **options: compiled.append(self.kernel.warmup(*args, grid=grid, **options))

    for name in ("carry", "differentiate"):
        monkeypatch.setattr(_triton.kernels, name, Launches(getattr(_triton_kernels, name)))
    monkeypatch.setattr(triton.runtime.driver, "_active", CardThatIsNotHere())
    return compiled


@pytest.mark.parametrize("direction", ["left", "down"])
@pytest.mark.parametrize(
    ("shape", "sets"), [((1, 1, 1, 1), 1), ((1, 2, 1, 5), 2), ((2, 4, 64, 48), 2), ((1, 1, 16, 2048), 1)]
)
def test_every_launch_compiles_for_its_very_arguments(launches, shape, sets, direction):
    """Triton makes constants of arguments that are 1, which only a launch shows."""
    from gspn_core.ops.triton import scan as _triton

    B, _C, H, W = shape
    x, logits = torch.zeros(shape, dtype=torch.bfloat16), torch.zeros(B, sets, 3, H, W, dtype=torch.bfloat16)
    _triton.forward(x, x, logits, direction, None, "convex", torch.bfloat16)
    _triton.merge(torch.zeros_like(x), x, x, x, logits, direction, 4, "convex")
    _triton.backward(x, x, x, logits, torch.zeros(shape), direction, None, "free")
    assert len(launches) >= 4
    assert all(kernel.asm["cubin"] for kernel in launches)


def test_no_pipeline_of_the_compilers_own_reorders_what_a_program_reads():
    assert "async" not in compile_carry(90).asm["ttgir"]


def test_it_agrees_with_naive_in_the_interpreter():
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-p",
            "no:cacheprovider",
            str(HERE / "test_triton_agrees.py"),
        ],
        cwd=HERE.parents[2],
        env=os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    # Skipped altogether it would pass as well.
    assert " passed" in done.stdout


def cut(**changes):
    from gspn_core.ops.triton.scan import cut

    sizes = {"length": 1024, "lines": 1024, "columns": False, "chunk": 1024, "maps": 128, "group": 1}
    return cut(**(sizes | {"itemsize": 4} | changes))


def test_a_line_that_fits_is_one_program_from_edge_to_edge():
    for columns in (False, True):
        launch = cut(columns=columns)
        assert (launch.tiles, launch.halo, launch.span, launch.carried) == (1, 0, 1024, False)
        assert launch.tile == 1024
        assert launch.warps == (16 if columns else 8)


def test_short_chunks_are_programs_of_their_own_and_whole():
    for chunk in (1, 4, 7, 64, 100):
        launch = cut(chunk=chunk)
        assert launch.span % chunk == 0
        assert launch.span <= max(64, chunk)
    assert cut(length=5000, chunk=7).span == 63


def test_a_halo_is_as_wide_as_its_tile_has_lines_to_go():
    for length in (1025, 2048, 8192):
        for chunk in (4, 64, 65, 8192):
            launch = cut(length=length, lines=8192, chunk=chunk)
            assert launch.tiles * (launch.tile - 2 * launch.halo) >= length
            assert (launch.stride if launch.carried else launch.span) <= launch.halo
            assert launch.carried == (chunk > launch.halo)


def test_channels_share_weights_only_where_programs_abound():
    assert cut(length=64, lines=64, maps=20, group=32).channels == 1
    for columns in (False, True):
        plenty = cut(length=256, lines=256, maps=2, group=4096, columns=columns)
        assert plenty.channels == (4 if columns else 2)
        assert cut(length=256, lines=256, maps=4096, group=1, columns=columns).channels == 1


def test_without_the_interpreter_or_a_card_triton_is_refused():
    if torch.cuda.is_available() or triton.knobs.runtime.interpret:
        pytest.skip("it can run here")
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(BadSetting, match="backend 'triton' needs tensors on a cuda device, got cpu"):
        line_scan(x, x, torch.zeros(1, 1, 3, 2, 2), direction="down", backend="triton")
