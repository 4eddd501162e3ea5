"""FreeU (2309.11497): stronger backbone features and weaker low frequencies of the skip tensors.

h[:, :C/2] = b·h[:, :C/2]                       in the first two up blocks
skip = IFFT(s on the four lowest frequencies · FFT(skip))

as diffusers' UNet computes it; no weights are changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import nn

from gspn_core.backbones.backbone import Backbone
from gspn_core.controls.control import Control, StageSetup
from gspn_core.kinds.kind import FREEU

# By which a setting is known to diffusers' up blocks.
_PREFIX = "freeu_"


class FreeU(Control):
    """Have the base model's UNet weigh its features in every step.

    Args:
        net: the UNet.
        values: by the settings' names.
    """

    def __init__(self, net: nn.Module, values: dict[str, float]) -> None:
        self.net, self.values = net, values

    @classmethod
    def for_stage(cls, setup: StageSetup) -> FreeU | None:
        """Return the control of a stage in which one of the values is not 1."""
        kind, own = setup.stage.kind, setup.stage.settings
        values = {name: getattr(own, name) for name in sorted(FREEU & kind.reads)}
        if all(value == 1 for value in values.values()):
            return None
        return cls(setup.backbone.net, values)

    def attached(self, backbone: Backbone, i: int) -> AbstractContextManager[None]:
        """Weigh the features in the block; the refiner's stay as they are."""
        return weighed(self.net, self.values) if backbone.net is self.net else nullcontext()


@contextmanager
def weighed(net: nn.Module, values: dict[str, float]) -> Iterator[None]:
    """Set the values on a UNet's up blocks in the `with` block, and restore what they had before."""
    names, blocks = {name.removeprefix(_PREFIX): value for name, value in values.items()}, list(net.up_blocks)
    before = [{name: vars(block)[name] for name in names if name in vars(block)} for block in blocks]
    try:
        for block in blocks:
            for name, value in names.items():
                setattr(block, name, value)
        yield
    finally:
        for block, had in zip(blocks, before, strict=True):
            for name in names:
                if name in had:
                    setattr(block, name, had[name])
                else:
                    delattr(block, name)
