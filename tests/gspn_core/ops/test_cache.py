"""The compiled scan gives the same bits in the process that compiles it and in those that load it."""

from __future__ import annotations

import subprocess
import sys

SCANS = """
import hashlib
import torch
from gspn_core.ops import merge_line_scan

random = torch.Generator().manual_seed(0)
digest = hashlib.sha256()
for direction in ("down", "up"):
    for H, W in ((37, 29), (64, 64)):
        y, share, x, gate = (torch.randn(1, 4, H, W, generator=random).bfloat16() for _ in range(4))
        logits = 3 * torch.randn(1, 4, 3, H, W, generator=random).bfloat16()
        for gating in ("free", "convex"):
            out = merge_line_scan(y.clone(), share, x, gate, logits, direction=direction, gating=gating)
            digest.update(out.view(torch.int16).numpy().tobytes())
print(digest.hexdigest())
"""


def test_the_process_that_compiles_gives_the_bits_of_one_that_loads(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    results = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", SCANS], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        results.append(done.stdout)
        assert list(tmp_path.rglob("*.nbc")), "the first process must leave its machine code for the second"
    assert results[0] == results[1]
