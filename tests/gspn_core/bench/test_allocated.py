"""Bytes are counted, not sampled: the same call always gives the same figure."""

import torch

from gspn_core.bench.allocated import most_extra_bytes

CPU = torch.device("cpu")
_MEGABYTE = 250_000


def test_only_bytes_that_live_at_the_same_time_are_counted():
    def in_turn() -> None:
        for _ in range(3):
            torch.empty(_MEGABYTE)

    def at_once() -> list[torch.Tensor]:
        return [torch.empty(_MEGABYTE) for _ in range(3)]

    counted = most_extra_bytes([in_turn, at_once, in_turn], CPU)
    assert counted == [1_000_000, 3_000_000, 1_000_000]


def test_earlier_allocations_do_not_count():
    held = [torch.empty(_MEGABYTE)]
    assert most_extra_bytes([held[0].zero_, lambda: held[0][:10].clone()], CPU) == [0, 40]
    assert most_extra_bytes([], CPU) == []
