"""The memory options with which a stage fits into the available memory. Pure arithmetic.

The fastest options that do not change the picture come first. Only if none of those fits are tiles made
smaller and weights stored in eight bits. So more memory never makes a plan slower.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from gspn_core.planning.costs import SMALLEST_TILE_PX, Prediction, Work, extra_bytes, predict, tile_px
from gspn_core.planning.memory import MIXER_BLOCK_BYTES, SMALL_MIXER_BLOCK_BYTES
from gspn_core.planning.types import Machine, MemoryOptions, Phase, Residency, Shapes


def fit(work: Work, shapes: Shapes, machine: Machine) -> Prediction | None:
    """Return the fastest options with which the work fits the machine's budget, None if none do."""
    for alternatives in _alternatives(work, machine, shapes):
        found = [predict(work, choices, shapes, machine) for choices in alternatives]
        found = [way for way in found if way.peak_bytes <= machine.budget_bytes]
        if found:
            return min(found, key=lambda way: (way.slowness, len(way.choices.taken)))
    return None


def least(work: Work, shapes: Shapes, machine: Machine) -> Prediction:
    """Return the options that need the least memory, however slow."""
    *_, last = _alternatives(work, machine, shapes)
    return min((predict(work, c, shapes, machine) for c in last), key=lambda way: way.peak_bytes)


def cheaper(
    choices: MemoryOptions, work: Work, shapes: Shapes, machine: Machine, phase: Phase
) -> tuple[MemoryOptions, str] | None:
    """Return options with one more that saves memory in a phase, and its name; None if there is none left.

    A stage falls back to these one by one when memory runs out in spite of its plan. Options that do not
    change the picture come first; those that do not help in that phase are skipped.
    """
    offload = _may_offload(machine, shapes)
    steps: list[tuple[str, object, bool]] = []
    if phase == "steps":
        blocks = work.mixer in ("gspn", "neighborhood")
        steps = [
            ("serial_guidance", True, work.rows == 2),
            ("small_blocks", True, blocks),
            ("skips_on_host", True, offload and work.condition is None),
            ("chunked_feed_forward", True, True),
        ]
    elif not offload or choices.residency != "device":
        steps = [("small_tiles", choices.small_tiles + 1, _can_halve(work, choices.small_tiles))]
    steps += [
        ("residency", "model", offload and choices.residency == "device"),
        ("residency", "group", "group" in _residencies(machine, shapes) and phase == "steps"),
        ("float8_storage", True, _may_narrow(machine, shapes)),
    ]
    for name, value, possible in steps:
        if possible and getattr(choices, name) != value:
            return dataclasses.replace(choices, **{name: value}), name
    return None


def merged(one: MemoryOptions, other: MemoryOptions) -> MemoryOptions:
    """Return the options that save whatever either saves."""
    order = ("device", "model", "group")
    return MemoryOptions(
        residency=max(one.residency, other.residency, key=order.index),
        small_tiles=max(one.small_tiles, other.small_tiles),
        **{
            name: getattr(one, name) or getattr(other, name)
            for name in (
                "serial_guidance",
                "chunked_feed_forward",
                "small_blocks",
                "skips_on_host",
                "float8_storage",
            )
        },
    )


def _alternatives(work: Work, machine: Machine, shapes: Shapes) -> Iterator[list[MemoryOptions]]:
    """Yield groups of options; a group is considered only if nothing in the groups before it fits.

    No group has an option faster than those of the groups before it: tiles shrink only once everything but
    the autoencoder is offloaded, where it can be; weights are stored in eight bits only together with
    everything else that saves memory.
    """
    exact = [c for c in _exact(machine, shapes) if _is_useful(c, work, machine)]
    yield exact
    frugal = [c for c in exact if c.residency != "device"] or exact
    halvings = 0
    while _can_halve(work, halvings):
        halvings += 1
        yield [dataclasses.replace(c, small_tiles=halvings) for c in frugal]
    if _may_narrow(machine, shapes):
        most = max(exact, key=lambda c: len(c.taken))
        yield [dataclasses.replace(most, small_tiles=halvings, float8_storage=True)]


def _can_halve(work: Work, halvings: int) -> bool:
    now = tile_px(work, MemoryOptions(small_tiles=halvings))
    whole = now is None or now > max(work.height, work.width)
    return max(work.height, work.width) > SMALLEST_TILE_PX if whole else now > SMALLEST_TILE_PX


def _may_offload(machine: Machine, shapes: Shapes) -> bool:
    element = machine.element_bytes
    weights = shapes.unet.weight_bytes(element) + element * shapes.text_parameters
    weights += extra_bytes(shapes, machine)[0] + element * shapes.other_parameters
    return machine.device == "cuda" and machine.host_bytes > 1.2 * weights


def _may_narrow(machine: Machine, shapes: Shapes) -> bool:
    """Return whether a stage may store weights in eight bits: never those that are quantized already."""
    return shapes.unet.quantized is None and not _may_offload(machine, shapes)


def _residencies(machine: Machine, shapes: Shapes) -> tuple[Residency, ...]:
    if not _may_offload(machine, shapes):
        return ("device",)
    kept = shapes.unet.quantized
    return ("device", "model", "group") if kept is None or kept.by_layer else ("device", "model")


def _exact(machine: Machine, shapes: Shapes) -> Iterator[MemoryOptions]:
    may_offload = _may_offload(machine, shapes)
    residencies = _residencies(machine, shapes)
    yes_or_no = (False, True)
    hosts = yes_or_no if may_offload else (False,)
    for residency, serial, chunked, small, host in itertools.product(
        residencies, yes_or_no, yes_or_no, yes_or_no, hosts
    ):
        yield MemoryOptions(
            residency=residency,
            serial_guidance=serial,
            chunked_feed_forward=chunked,
            small_blocks=small,
            skips_on_host=host,
        )


def _is_useful(choices: MemoryOptions, work: Work, machine: Machine) -> bool:
    if choices.serial_guidance and work.rows == 1:
        return False
    if choices.skips_on_host and work.condition is not None:
        # Its residuals are added to the skip tensors on the device.
        return False
    blocks = work.mixer in ("gspn", "neighborhood")
    smaller = MIXER_BLOCK_BYTES[machine.device] > SMALL_MIXER_BLOCK_BYTES
    return not choices.small_blocks or (blocks and smaller)
