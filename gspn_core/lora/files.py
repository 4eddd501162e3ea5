"""The records of LoRA files that a plan needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """A file in the folder of LoRA files.

    Args:
        name: without folder and ending.
        path: of the file.
        issue: why it cannot be used with the model, as the end of a sentence; "" if it can.
        layers: how many layers it changes.
        numbers: how many weights those have in the UNet, without self-attention.
        self_attention_numbers: likewise in its self-attentions.
    """

    name: str
    path: str
    issue: str = ""
    layers: int = 0
    numbers: int = 0
    self_attention_numbers: int = 0


class StageLora(NamedTuple):
    """A LoRA file in a stage.

    Attributes:
        name: the file's.
        weight: it is fused with.
        sha256: of the file.
        numbers: of the UNet that it changes, which are kept to be put back.
    """

    name: str
    weight: float
    sha256: str
    numbers: int


class LoraSource(Protocol):
    """The LoRA files of a model."""

    def all(self) -> tuple[LoraFile, ...]:
        """Return the files that are there now, sorted by name."""
        ...

    def digest(self, name: str) -> str:
        """Return the SHA-256 of the file of that name."""
        ...

    def hashes(self, name: str) -> tuple[str, str]:
        """Return the SHA-256 of the file of that name, and of its tensors alone."""
        ...
