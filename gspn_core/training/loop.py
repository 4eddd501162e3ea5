"""One training loop for every part: a budget of minutes, a moving average, checkpoints that resume.

Knows nothing of what is trained: a step is a function that returns a loss and what to log.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from gspn_core.errors import GspnError
from gspn_core.training.log import Log
from gspn_core.training.muon import Muon, splits

Step = Callable[[int], tuple[torch.Tensor, Mapping[str, float]]]


class Keeps(Protocol):
    """What has a state that a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how fast to train. The rate falls to nothing over the last decay_share of the minutes.

    Looking (held-out losses, a sheet of pictures) takes up to a minute of them: it is done seldom.
    """

    minutes: float
    max_steps: int | None = None
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    decay_share: float = 0.2
    weight_decay: float = 0.01
    average_decay: float = 0.999
    clip_norm: float = 1.0
    log_steps: int = 20
    save_seconds: float = 180.0
    look_seconds: float = 900.0

    def rate(self, step: int, seconds: float) -> float:
        """Return the learning rate at a step, after so many seconds of training."""
        done = seconds / max(self.minutes * 60, 1e-9)
        fall = min(1.0, max(0.0, (1 - done) / self.decay_share))
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps) * fall


class Loop:
    """Trains modules by name and keeps their moving average; resumes from its checkpoint if there is one.

    `averages` holds the same names as `modules`; these are the weights to publish.
    `beside`: what trains itself beside them; only its state is kept with theirs.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        config: LoopConfig,
        path: Path,
        beside: Mapping[str, Keeps] | None = None,
    ) -> None:
        self.modules, self.config, self.path = dict(modules), config, path
        self.beside = dict(beside or {})
        self.averages = {name: deepcopy(module).requires_grad_(False) for name, module in modules.items()}
        hidden, other = splits(modules.values())
        self.weights = [*hidden, *other]
        decay = config.weight_decay
        self.optimizers = [torch.optim.AdamW(other, lr=0.0, betas=(0.9, 0.99), weight_decay=decay)]
        if hidden:
            self.optimizers.append(Muon(hidden, lr=0.0, weight_decay=decay))
        self.step, self.seconds = 0, 0.0
        if path.exists():
            self._resume()

    def run(self, step: Step, log: Log, look: Callable[[], None] = lambda: None) -> None:
        """Train until the minutes or the steps are used up.

        Saves every save_seconds and calls `look` every look_seconds; both at the end as well.
        """
        config, losses = self.config, []
        start = time.monotonic() - self.seconds
        saved = looked = time.monotonic()
        mark = (self.step, self.seconds)
        while not self._finished():
            rate = config.rate(self.step, self.seconds)
            for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
                group["lr"] = rate
            loss, told = step(self.step)
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights, config.clip_norm, error_if_nonfinite=True)
            for optimizer in self.optimizers:
                optimizer.step()
            self.step += 1
            self._average()
            losses.append(float(loss.detach()))
            self.seconds = time.monotonic() - start
            if self.step % config.log_steps == 0:
                speed = (self.step - mark[0]) / max(self.seconds - mark[1], 1e-9)
                mark = (self.step, self.seconds)
                left = config.minutes - self.seconds / 60
                log(step=self.step, loss=sum(losses) / len(losses), **told, steps_per_second=speed,
                    rate=rate, eta_minutes=left)  # fmt: skip
                losses.clear()
            if time.monotonic() - saved > config.save_seconds:
                self._save()
                saved = time.monotonic()
            if time.monotonic() - looked > config.look_seconds:
                look()
                looked = time.monotonic()
        self._save()
        look()

    def _finished(self) -> bool:
        steps = self.config.max_steps
        return self.seconds >= self.config.minutes * 60 or (steps is not None and self.step >= steps)

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.average_decay, (1 + self.step) / (10 + self.step))
        for name, module in self.modules.items():
            kept = [*self.averages[name].parameters()]
            torch._foreach_lerp_(kept, [*module.parameters()], 1 - decay)

    def _save(self) -> None:
        state = {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "averages": {name: module.state_dict() for name, module in self.averages.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "beside": {name: kept.state_dict() for name, kept in self.beside.items()},
            "step": self.step,
            "seconds": self.seconds,
            "random": torch.get_rng_state(),
        }
        save_atomically(state, self.path)

    def _resume(self) -> None:
        state = torch.load(self.path, weights_only=True)
        if state.get("beside", {}).keys() != self.beside.keys():
            raise GspnError(f"{self.path} is the checkpoint of another training; move it away to begin anew.")
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
            self.averages[name].load_state_dict(state["averages"][name])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        for name, kept in self.beside.items():
            kept.load_state_dict(state["beside"][name])
        self.step, self.seconds = state["step"], state["seconds"]
        torch.set_rng_state(state["random"])


class BeganFrom:
    """What a training began from, kept in its checkpoint: one that began from something else is refused."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self.digest = path, digest

    def state_dict(self) -> dict[str, Any]:
        """Return what the checkpoint keeps."""
        return {"digest": self.digest}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Raise GspnError where the checkpoint began from other weights."""
        if state["digest"] != self.digest:
            raise GspnError(f"{self.path} began from other weights; move it away to begin anew.")


def digest_of(*modules: nn.Module) -> str:
    """Return a name for the modules' weights: the same weights have the same one."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def save_atomically(state: object, path: Path) -> None:
    """Write a checkpoint beside its place, then move it there: a reader never sees half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
