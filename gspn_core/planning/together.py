"""How many pictures of a batch go through the UNet at once, and the plan of one of them. Pure arithmetic."""

from __future__ import annotations

import dataclasses

from gspn_core.planning.keys import first_key_of, stage_key
from gspn_core.planning.types import CascadePlan


def drawn_together(plan: CascadePlan, wanted: int) -> int:
    """Return how many first stages that differ in their seed alone are drawn at once, 1 to `wanted`.

    One at a time where the stage begins from an image, has the refiner, or needs memory options already, and
    where the memory is not known.
    """
    fitting = [bytes_ for bytes_ in plan.stages[0].batch_bytes if bytes_ <= (plan.budget_bytes or 0)]
    return max(1, min(wanted, 1 + len(fitting)))


def batch_peak_bytes(plan: CascadePlan, pictures: int) -> int | None:
    """Return the predicted peak of that many first stages, None if it is not known."""
    first, count = plan.stages[0], drawn_together(plan, pictures)
    return first.peak_bytes if count == 1 else first.batch_bytes[count - 2]


def plan_together(plan: CascadePlan) -> CascadePlan:
    """Return a plan whose first stage is drawn at once with others: its keys say so, as last bits differ."""
    stages, before = [], first_key_of(plan.model, plan.fingerprint)
    for stage in plan.stages:
        changed = dataclasses.replace(stage, together=stage.index == 0, key="")
        before = stage_key(before, changed)
        stages.append(dataclasses.replace(changed, key=before))
    return dataclasses.replace(plan, stages=tuple(stages))
