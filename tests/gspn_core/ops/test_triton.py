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
from gspn_core.ops.prepare import Scan, prepare

triton = pytest.importorskip("triton")
HERE = Path(__file__).parent

# The scan of a batch of maps, as a model's are or ragged: shape, maps of logits in a sample, and what differs
# from a forward, convex, global scan down in float32.
VARIANTS = {
    "rows": ((2, 4, 1024, 1024), 4, {}),
    "columns": ((2, 4, 1024, 1024), 4, {"direction": "right"}),
    "columns in bfloat16": ((2, 4, 1024, 1024), 4, {"direction": "left", "dtype": torch.bfloat16}),
    "merged in bfloat16": ((2, 2048, 256, 256), 2, {"call": "merge", "dtype": torch.bfloat16}),
    "merged columns in bfloat16": (
        (2, 2048, 256, 256), 2, {"call": "merge", "direction": "right", "dtype": torch.bfloat16},
    ),
    "backward": ((2, 4, 1024, 1024), 4, {"call": "backward"}),
    "backward in columns": ((2, 4, 1024, 1024), 4, {"call": "backward", "direction": "right"}),
    "ragged tiles": ((1, 1, 1001, 2500), 1, {"gating": "free", "dtype": torch.float16}),
    "small": ((1, 1, 5, 3), 1, {"call": "backward"}),
    "double": ((1, 1, 64, 64), 1, {"dtype": torch.float64}),
}  # fmt: skip
COMPILED = {}
# Those of full tiles and numbers that 16 divides, as of the maps of a model.
USUAL = tuple(VARIANTS)[:7]


class CardThatIsNotHere:
    """What Triton asks of a driver in order to compile a launch."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        # Triton keeps what it compiled by the number of the device.
        return -self.capability

    def get_current_stream(self, _device):
        return 0


@pytest.fixture
def launches(monkeypatch):
    """Compile launches as Triton specialises them for their very arguments, and keep what came of them."""
    from gspn_core.ops.triton import backward, forward

    compiled = []

    class Launches:
        def __init__(self, kernel):
            self.kernel = kernel

        def __getitem__(self, grid):
            return lambda *args, **options: compiled.append(self.kernel.warmup(*args, grid=grid, **options))

    for module, name in ((forward, "scan"), (backward, "accumulate"), (backward, "differentiate")):
        monkeypatch.setattr(module, name, Launches(getattr(module, name)))
    return compiled


def compile_scan(launches, monkeypatch, variant, capability=90):
    """Return the kernels that carry a state and the others of a variant, for a card that need not be there.

    Tensors on "meta" have no memory, so the maps may be as large as they like. What was compiled once is kept
    for the tests that look at the same kernels.
    """
    from gspn_core.ops.triton import scan as triton_scan

    if (variant, capability) in COMPILED:
        return COMPILED[variant, capability]
    monkeypatch.setattr(triton.runtime.driver, "_active", CardThatIsNotHere(capability))
    shape, sets, changes = VARIANTS[variant]
    options = {"call": "forward", "direction": "down", "gating": "convex", "dtype": torch.float32} | changes
    B, _C, H, W = shape
    x = torch.empty(shape, dtype=options["dtype"], device="meta")
    logits = torch.empty(B, sets, 3, H, W, dtype=options["dtype"], device="meta")
    scan = prepare(
        x, x, logits, direction=options["direction"], chunk_size=None, gating=options["gating"], sets=True
    )
    if options["call"] == "merge":
        triton_scan.merge(x, x, x, x, logits, scan)
    elif options["call"] == "backward":
        triton_scan.backward(x, x, x, logits, x.to(scan.carry), scan)
    else:
        triton_scan.forward(x, x, logits, scan, options["dtype"])
    COMPILED[variant, capability] = launches
    return launches


def lines_of(variant):
    """Return how many lines a program of a variant has at once."""
    _, _, changes = VARIANTS[variant]
    return 8 if "direction" in changes and changes.get("dtype") == torch.bfloat16 else 4


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    """Return the folder of what was compiled in this run of the tests, by any of pytest-xdist's workers."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "triton"


@pytest.fixture(autouse=True)
def _own_cache(kernels, monkeypatch):
    """Compile in every run of the tests, and leave nothing in the user's cache."""
    monkeypatch.setattr(triton.knobs.cache, "dir", str(kernels))


@pytest.mark.parametrize("capability", [80, 90, 120])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_scan_compiles_for_cards_that_are_not_here(launches, monkeypatch, variant, capability):
    for kernel in compile_scan(launches, monkeypatch, variant, capability):
        assert kernel.asm["cubin"][:4] == b"\x7fELF"
        assert f"sm_{capability}" in kernel.asm["ptx"]


@pytest.mark.parametrize("variant", USUAL)
def test_a_barrier_separates_leaving_a_line_from_reading_its_neighbours(launches, monkeypatch, variant):
    """The interpreter runs no threads and would not miss it."""
    kernel = compile_scan(launches, monkeypatch, variant)[0]
    body = kernel.asm["ttgir"].split("scf.for", 1)[1]
    events = []
    for text in body.splitlines():
        if "barrier" in text and "loc(" in text:
            events.append("barrier")
        elif "tt.store" in text or "tt.load" in text:
            # Slots are float32 lines (channels, cells), all else has three dimensions.
            shape = text.split("tensor<", 1)[1].split("!", 1)[0]
            if shape.count("x") == 2:
                events.append("leave" if "tt.store" in text else "read")
    leaves = 2 if "backward" in variant else 1
    assert events == (["leave"] * leaves + ["barrier", "read", "read"]) * lines_of(variant)


@pytest.mark.parametrize("variant", USUAL)
def test_a_block_stays_in_the_registers_it_was_read_into(launches, monkeypatch, variant):
    kernel = compile_scan(launches, monkeypatch, variant)[0]
    assert kernel.metadata.shared == 0
    assert kernel.asm["ptx"].count("bar.sync") == lines_of(variant)


@pytest.mark.parametrize("variant", ["columns", "columns in bfloat16"])
def test_columns_are_read_in_sixteen_bytes_a_thread(launches, monkeypatch, variant):
    kernel = compile_scan(launches, monkeypatch, variant)[0]
    # Two fetches of five tensors, of two cells a thread.
    assert kernel.asm["ptx"].count("ld.global.v4.b32") == 2 * 5 * 2


@pytest.mark.parametrize("direction", ["left", "down"])
@pytest.mark.parametrize(
    ("shape", "sets"), [((1, 1, 1, 1), 1), ((1, 2, 1, 5), 2), ((2, 4, 64, 48), 2), ((1, 1, 16, 2048), 1)]
)
def test_every_launch_compiles_for_its_very_arguments(launches, monkeypatch, shape, sets, direction):
    """Triton makes constants of arguments that are 1, which only a launch shows."""
    from gspn_core.ops.triton import scan as triton_scan

    monkeypatch.setattr(triton.runtime.driver, "_active", CardThatIsNotHere(90))
    B, _C, H, W = shape
    x, logits = torch.zeros(shape, dtype=torch.bfloat16), torch.zeros(B, sets, 3, H, W, dtype=torch.bfloat16)

    def scan(chunk_size, gating):
        return prepare(x, x, logits, direction=direction, chunk_size=chunk_size, gating=gating, sets=True)

    triton_scan.forward(x, x, logits, scan(None, "convex"), torch.bfloat16)
    triton_scan.merge(torch.zeros_like(x), x, x, x, logits, scan(4, "convex"))
    triton_scan.backward(x, x, x, logits, torch.zeros(shape), scan(None, "free"))
    assert len(launches) >= 4
    assert all(kernel.asm["cubin"] for kernel in launches)


def test_no_pipeline_of_the_compilers_own_reorders_what_a_program_reads(launches, monkeypatch):
    assert "async" not in compile_scan(launches, monkeypatch, "rows")[0].asm["ttgir"]


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


def cut(*, length=1024, lines=1024, columns=False, chunk=1024, maps=128, group=1):
    from gspn_core.ops.triton.scan import cut

    height, width = (length, lines) if columns else (lines, length)
    scan = Scan(
        maps=maps, sets=1, group=group, height=height, width=width, columns=columns, backwards=False,
        chunk=min(chunk, lines), convex=True, carry=torch.float32,
    )  # fmt: skip
    return cut(scan, 4)


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
