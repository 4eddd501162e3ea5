"""The training loop of every part: a budget of minutes, a moving average, checkpoints that resume.

A step is a function that returns a loss and what to log.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gspn_core.errors import GspnError
from gspn_core.training.checkpoint import Stateful, save_checkpoint
from gspn_core.training.log import Log
from gspn_core.training.muon import Muon, splits

Step = Callable[[int], tuple[torch.Tensor, Mapping[str, float]]]


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how fast to train. The learning rate falls to 0 over the last decay_share of the minutes.

    An evaluation (held-out losses, a sheet of pictures) takes up to a minute of them, so it is rare.
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
    evaluate_seconds: float = 900.0

    def rate(self, step: int, seconds: float) -> float:
        """Return the learning rate at a step, after that many seconds of training."""
        done = seconds / max(self.minutes * 60, 1e-9)
        fall = min(1.0, max(0.0, (1 - done) / self.decay_share))
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps) * fall


class Loop:
    """Trains modules by name and keeps their moving average; resumes from its checkpoint if there is one.

    `averages` has the same names as `modules`; these are the weights to publish.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        config: LoopConfig,
        path: Path,
        stateful: Mapping[str, Stateful] | None = None,
    ) -> None:
        """Create the optimizers, then read the checkpoint at `path` if there is one.

        Args:
            modules: what is trained, by name; its weights must stay in the same memory from here on.
            path: the checkpoint.
            stateful: objects that steps train themselves; only their state is in the checkpoint.

        Raises:
            GspnError: the checkpoint belongs to another training.
        """
        self.modules, self.config, self.path = dict(modules), config, path
        self.stateful = dict(stateful or {})
        average = ema_with_warmup(config.average_decay)
        self._averaged = {
            name: AveragedModel(module, multi_avg_fn=average) for name, module in modules.items()
        }
        self.averages = {name: each.module.requires_grad_(False) for name, each in self._averaged.items()}
        hidden, other = splits(modules.values())
        self.weights = [*hidden, *other]
        decay = config.weight_decay
        self.optimizers = [torch.optim.AdamW(other, lr=0.0, betas=(0.9, 0.99), weight_decay=decay)]
        if hidden:
            self.optimizers.append(Muon(hidden, lr=0.0, weight_decay=decay))
        self.step, self.seconds = 0, 0.0
        if path.exists():
            self._resume()

    def run(self, step: Step, log: Log, evaluate: Callable[[], None] = lambda: None) -> None:
        """Train until the minutes or the steps are over.

        Saves every save_seconds and calls `evaluate` every evaluate_seconds; both at the end as well.

        Args:
            step: takes a step's number; returns its loss and what to log, by name.
        """
        config, losses = self.config, []
        start = time.monotonic() - self.seconds
        saved = evaluated = time.monotonic()
        mark = (self.step, self.seconds)
        while not self._finished():
            rate = config.rate(self.step, self.seconds)
            for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
                group["lr"] = rate
            loss, logged = step(self.step)
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights, config.clip_norm, error_if_nonfinite=True)
            for optimizer in self.optimizers:
                optimizer.step()
            self.step += 1
            for name, module in self.modules.items():
                self._averaged[name].update_parameters(module)
            losses.append(float(loss.detach()))
            self.seconds = time.monotonic() - start
            if self.step % config.log_steps == 0:
                speed = (self.step - mark[0]) / max(self.seconds - mark[1], 1e-9)
                mark = (self.step, self.seconds)
                left = config.minutes - self.seconds / 60
                log(step=self.step, loss=sum(losses) / len(losses), **logged, steps_per_second=speed,
                    rate=rate, eta_minutes=left)  # fmt: skip
                losses.clear()
            if time.monotonic() - saved > config.save_seconds:
                self._save()
                saved = time.monotonic()
            if time.monotonic() - evaluated > config.evaluate_seconds:
                evaluate()
                evaluated = time.monotonic()
        self._save()
        evaluate()

    def _finished(self) -> bool:
        steps = self.config.max_steps
        return self.seconds >= self.config.minutes * 60 or (steps is not None and self.step >= steps)

    def _save(self) -> None:
        state = {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "averages": {name: module.state_dict() for name, module in self.averages.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "stateful": {name: each.state_dict() for name, each in self.stateful.items()},
            "step": self.step,
            "seconds": self.seconds,
            "random": torch.get_rng_state(),
        }
        save_checkpoint(state, self.path)

    def _resume(self) -> None:
        state = torch.load(self.path, weights_only=True)
        # Earlier versions used another key.
        states = state.get("stateful", state.get("beside", {}))
        if states.keys() != self.stateful.keys():
            raise GspnError(
                f"{self.path} is the checkpoint of another training; move it away to start again."
            )
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
            self.averages[name].load_state_dict(state["averages"][name])
            self._averaged[name].n_averaged.fill_(state["step"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        for name, each in self.stateful.items():
            each.load_state_dict(states[name])
        self.step, self.seconds = state["step"], state["seconds"]
        torch.set_rng_state(state["random"])


def ema_with_warmup(most: float) -> Callable[[list[torch.Tensor], list[torch.Tensor], torch.Tensor], None]:
    """Return the update of an exponential moving average for `AveragedModel`.

        decay = min(most, (1 + n) / (10 + n)) at the n-th step

    so that the average forgets the initial weights; torch's own has the same decay for all steps.
    """

    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], before: torch.Tensor) -> None:
        step = int(before) + 1
        get_ema_multi_avg_fn(min(most, (1 + step) / (10 + step)))(averaged, current, before)

    return update
