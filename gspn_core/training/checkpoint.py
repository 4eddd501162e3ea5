"""What a training keeps on disk: states that a reader never sees half of, and what they began from."""

import hashlib
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from gspn_core.errors import GspnError
from gspn_core.files import replacing


class Stateful(Protocol):
    """What has a state that a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class InitialWeights:
    """The digest of the weights that a training began from; a checkpoint that has another one is refused."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self.digest = path, digest

    def state_dict(self) -> dict[str, Any]:
        """Return what the checkpoint keeps."""
        return {"digest": self.digest}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Raise GspnError where the checkpoint began from other weights."""
        if state["digest"] != self.digest:
            raise GspnError(f"{self.path} began from other weights; move it away to start again.")


def digest_of(*modules: nn.Module) -> str:
    """Return a name for the modules' weights: the same weights have the same one."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def save_checkpoint(state: object, path: Path) -> None:
    """Write a state with `torch.save`; the folder is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        torch.save(state, stream)
