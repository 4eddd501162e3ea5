"""The contract of a control: where the sampling loop asks it, and what it is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from PIL.Image import Image
from torch import Tensor, nn

from gspn_core.backbones.backbone import NO_EXTRA, Backbone, Extra
from gspn_core.events import StepWeights
from gspn_core.kinds.tiles import Crop
from gspn_core.planning.types import Size, StagePlan

# The guided prediction of the step at hand, (1, C, h, w), from latents in the scheduler's own scale.
Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class StageSetup:
    """What a control may read when its stage begins.

    Attributes:
        stage: its plan; stage.settings are the settings as this stage reads them.
        backbone: what predicts in it.
        weights: one per step, none in a first stage.
        reference: the encoded picture that it starts from, (1, C, h, w); None where it starts from noise.
        image: that picture.
        masked: what it shows outside of the part that is drawn, encoded, (1, C, h, w); None but for an
            inpainting UNet.
        before: size of the stage before it, None for the first.
        crops: the tiles of it that are drawn; () where all of it is.
        network: the ControlNet or T2I-Adapter that steers it; None without one.
        control_image: the picture that it reads, of the stage's aspect.
    """

    stage: StagePlan
    backbone: Backbone
    weights: tuple[StepWeights, ...] = ()
    reference: Tensor | None = None
    image: Image | None = None
    masked: Tensor | None = None
    before: Size | None = None
    crops: tuple[Crop, ...] = ()
    network: nn.Module | None = None
    control_image: Image | None = None


class Control:
    """A control that changes nothing; each one overrides the hooks that it needs.

    i counts the stage's steps from 0, x are the latents (1, C, h, w) in the scheduler's own scale.
    """

    # Whether `denoised` may change the estimate: the prediction is then made from the estimate again.
    steers = False

    @classmethod
    def for_stage(cls, setup: StageSetup) -> Control | None:
        """Return the control as a stage's settings ask for it, None where they do not."""
        raise NotImplementedError

    @classmethod
    def evaluations(cls, stage: StagePlan, weights: Sequence[StepWeights]) -> tuple[int, ...]:
        """Return how many evaluations of the guidance pair each step takes for this control; () for none."""
        return ()

    def attached(self, backbone: Backbone, i: int) -> AbstractContextManager[None]:
        """Change the backbone's network for the evaluations of a step; restored exactly at the end."""
        return nullcontext()

    def before(self, x: Tensor, i: int) -> Tensor:
        """Return the latents that a step starts from."""
        return x

    def extra(self, x: Tensor, i: int) -> Extra:
        """Return what the network reads besides latents and text."""
        return NO_EXTRA

    def predicted(self, noise_pred: Tensor, x: Tensor, i: int, predict: Predict) -> Tensor:
        """Return the prediction in place of the guided one; predict evaluates the network again."""
        return noise_pred

    def denoised(self, estimate: Tensor, i: int) -> Tensor:
        """Return the estimate x̂0 in place of the one that the prediction makes; see `steers`."""
        return estimate

    def after(self, x: Tensor, i: int) -> Tensor:
        """Return the latents that a step ends with."""
        return x

    def decoded(self, sample: Tensor) -> Tensor:
        """Return the finished sample (1, 3, H, W) in [-1, 1]; it may be changed in place."""
        return sample


@contextmanager
def attached(controls: Sequence[Control], backbone: Backbone, i: int) -> Iterator[None]:
    """Attach all controls for the evaluations of step i; detach them in reverse order."""
    with ExitStack() as stack:
        for control in controls:
            stack.enter_context(control.attached(backbone, i))
        yield
