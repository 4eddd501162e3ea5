"""Which controls there are: a row each, in the order in which the sampling loop asks them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from gspn_core.controls.control import Control, StageSetup
from gspn_core.controls.dilated_branch import DilatedBranch
from gspn_core.controls.freeu import FreeU
from gspn_core.controls.inpaint_channels import InpaintChannels
from gspn_core.controls.keep_base import KeepBase
from gspn_core.controls.match_statistics import MatchStatistics
from gspn_core.controls.redraw_region import RedrawRegion
from gspn_core.controls.redraw_tiles import RedrawTiles
from gspn_core.controls.skip_residual import SkipResidual
from gspn_core.controls.small_picture import SmallPicture
from gspn_core.controls.steered import Steered
from gspn_core.events import StepWeights
from gspn_core.planning.types import StagePlan

CONTROLS: tuple[type[Control], ...] = (
    DilatedBranch,
    SkipResidual,
    MatchStatistics,
    KeepBase,
    RedrawRegion,
    RedrawTiles,
    InpaintChannels,
    SmallPicture,
    Steered,
    FreeU,
)


def stage_controls(setup: StageSetup) -> tuple[Control, ...]:
    """Return the controls that a stage's settings ask for."""
    made = (control.for_stage(setup) for control in CONTROLS)
    return tuple(control for control in made if control is not None)


def extra_evaluations(stage: StagePlan, weights: Sequence[StepWeights]) -> tuple[int, ...]:
    """Return how many evaluations of the guidance pair each step takes for the controls."""
    counts = (control.evaluations(stage, weights) for control in CONTROLS)
    return tuple(map(sum, zip_longest(*counts, fillvalue=0)))
