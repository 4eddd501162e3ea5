"""Checkpoints, written atomically, with the digest of the initial weights."""

import hashlib
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from gspn_core.errors import GspnError
from gspn_core.files import replacing


class Stateful(Protocol):
    """An object with a state for a checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class InitialWeights:
    """The digest of the weights that a training started from; a checkpoint with another one is refused."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self.digest = path, digest

    def state_dict(self) -> dict[str, Any]:
        """Return the state for the checkpoint."""
        return {"digest": self.digest}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Raise GspnError if the checkpoint started from other weights."""
        if state["digest"] != self.digest:
            raise GspnError(f"{self.path} began from other weights; move it away to start again.")


def digest_of(*modules: nn.Module) -> str:
    """Return a digest of the modules' weights."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def save_checkpoint(state: object, path: Path) -> None:
    """Write a state with `torch.save`, creating the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        torch.save(state, stream)
