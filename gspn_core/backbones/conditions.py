"""A ControlNet (2302.05543) or a T2I-Adapter (2302.08453): what steers the UNet by a picture.

Both are diffusers' own networks, with their own attention whatever mixer the UNet has. A ControlNet reads
the latents, the text and the picture and is evaluated with each row of the guidance pair; its maps are added
to the UNet's skip tensors and to its middle block's output. A T2I-Adapter reads the picture alone, and its
maps are added within the down blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from gspn_core.backbones.conditioning import Conditioning
from gspn_core.planning.conditions import ConditionFile, StageCondition

Load = Callable[[ConditionFile], nn.Module]


class Residuals(NamedTuple):
    """What a UNet adds to its maps, (rows, c, h, w) each.

    Attributes:
        skips: to its skip tensors in their order, and the last one to its middle block's output.
        inside: to the maps within its down blocks.
    """

    skips: tuple[Tensor, ...] = ()
    inside: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """A network with the picture that it reads, (1, c, H, W) in [0, 1].

    Args:
        network: diffusers' ControlNetModel, ControlNetUnionModel or T2IAdapter.
        picture: at the size in px of what the UNet draws.
        stage: its scale and the kind of its picture.
    """

    network: nn.Module
    picture: Tensor
    stage: StageCondition
    _maps: list[Tensor] = field(default_factory=list)

    def cut(self, cut: Callable[[Tensor], Tensor]) -> Condition:
        """Return the same for a part of the picture. cut: returns that part of maps of any size."""
        return dataclasses.replace(self, picture=cut(self.picture), _maps=[])

    def residuals(self, x: Tensor, t: Tensor, rows: Conditioning) -> Residuals:
        """Return what the UNet adds in a call.

        Args:
            x: scaled latents (rows, C, h, w), without further input channels.
            t: timestep.
            rows: the text and sizes that the UNet reads.
        """
        if self.stage.file.kind == "T2I-Adapter":
            return Residuals(inside=self._adapter_maps(x))
        down, mid = self._control_maps(x, t, rows)
        return Residuals(skips=(*down, mid))

    def _adapter_maps(self, x: Tensor) -> tuple[Tensor, ...]:
        if not self._maps:
            maps = self.network(self._picture(x))
            self._maps.extend(one * self.stage.scale for one in maps)
        return tuple(one.expand(len(x), -1, -1, -1) for one in self._maps)

    def _control_maps(self, x: Tensor, t: Tensor, rows: Conditioning) -> tuple[Iterable[Tensor], Tensor]:
        picture = self._picture(x).expand(len(x), -1, -1, -1)
        options = {}
        if self.stage.file.types:
            kinds = x.new_zeros(len(x), self.stage.file.types)
            kinds[:, self.stage.type_index] = 1
            options = {"control_type": kinds, "control_type_idx": [self.stage.type_index]}
        return self.network(
            x,
            t,
            encoder_hidden_states=rows.prompt_embeds,
            controlnet_cond=[picture] if options else picture,
            conditioning_scale=self.stage.scale,
            added_cond_kwargs={"text_embeds": rows.pooled_prompt_embeds, "time_ids": rows.add_time_ids},
            return_dict=False,
            **options,
        )

    def _picture(self, x: Tensor) -> Tensor:
        return self.picture.to(device=x.device, dtype=x.dtype)


def joined_residuals(conditions: Iterable[Condition], x: Tensor, t: Tensor, rows: Conditioning) -> Residuals:
    """Return the sum of what several conditions add; see `Condition.residuals`."""
    skips, inside = [], []
    for condition in conditions:
        found = condition.residuals(x, t, rows)
        skips += [found.skips] if found.skips else []
        inside += [found.inside] if found.inside else []
    return Residuals(*(tuple(sum(maps) for maps in zip(*found, strict=True)) for found in (skips, inside)))


class ConditionNetworks:
    """The networks of a model that are loaded: those of the last run. Not thread-safe.

    load: returns a network on the host, in the UNet's dtype, without gradients; raises ModelUnavailable.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._loaded: dict[str, nn.Module] = {}

    def network(self, file: ConditionFile) -> nn.Module:
        """Return a network, loaded if it is not here; raise ModelUnavailable."""
        key = f"{file.path} {file.digest}"
        if key not in self._loaded:
            self._loaded[key] = self._load(file)
        return self._loaded[key]

    def keep_only(self, files: Iterable[ConditionFile]) -> None:
        """Let go of all networks but these."""
        kept = {f"{file.path} {file.digest}" for file in files}
        self._loaded = {key: network for key, network in self._loaded.items() if key in kept}

    @property
    def held_bytes(self) -> int:
        """Return the bytes of the weights that are loaded."""
        return sum(one.nbytes for network in self._loaded.values() for one in network.parameters())
