"""Memory and operations of a ControlNet or a T2I-Adapter for one call of the UNet. Pure arithmetic."""

from __future__ import annotations

import math

from gspn_core.planning.conditions import ConditionFile
from gspn_core.planning.memory import Call, Cost, control_cost


def condition_elements(file: ConditionFile, height: int, width: int, call: Call) -> int:
    """Return the peak elements of the network itself, its residuals included.

    Args:
        file: the network.
        height: in px of what the UNet draws at once; likewise width.
        call: of the UNet.
    """
    if file.shapes is not None:
        # The picture for each row, and the maps that its first layer and the activation after it make.
        picture = call.rows * (3 + 2 * file.hint_channels[0]) * height * width
        return max(
            picture, 3 * call.rows * height * width + _control_cost(file, height, width, call).elements
        )
    # The picture, its pixels as channels, and a block's maps next to those of the blocks before.
    widest = max(_map_elements(file, height, width))
    return 2 * 3 * height * width + sum(_map_elements(file, height, width)) + 3 * widest


def residual_elements(file: ConditionFile, height: int, width: int, call: Call) -> int:
    """Return the elements that stay until the UNet has added them; see `condition_elements`."""
    if file.shapes is not None:
        return _control_cost(file, height, width, call).skip_elements
    # One row stands for both halves of the pair until the UNet reads them.
    return (1 + call.rows) * sum(_map_elements(file, height, width))


def condition_operations(file: ConditionFile, height: int, width: int, *, rows: int) -> float:
    """Return the operations of one call of a ControlNet; a T2I-Adapter is read once in a stage: none."""
    if file.shapes is None:
        return 0.0
    reading, before = 0.0, 3
    for i, channels in enumerate(file.hint_channels):
        reading += 18.0 * (before + channels) * channels * height * width / 4**i
        before = channels
    return rows * reading + _control_cost(file, height, width, Call(rows=rows)).operations


def _control_cost(file: ConditionFile, height: int, width: int, call: Call) -> Cost:
    factor = 2 ** (len(file.hint_channels) - 1)
    return control_cost(file.shapes, height // factor, width // factor, call)


def _map_elements(file: ConditionFile, height: int, width: int) -> list[int]:
    """Return the elements of each map of a T2I-Adapter; from the third on they are half as large."""
    area = math.ceil(height / file.factor) * math.ceil(width / file.factor)
    return [
        channels * (area if i < 2 else math.ceil(area / 4))
        for i, channels in enumerate(file.adapter_channels)
    ]
