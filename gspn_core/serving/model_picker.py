"""The models among which a server's page may choose, and the choice of another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gspn_core.errors import Busy, ModelUnavailable
from gspn_core.models.catalog import SDXL_CARD, WORLD, find_card, local_models
from gspn_core.models.hub import SDXL, cached_folder


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A model that may be chosen. name: as `load_model` takes it; title: as it is called on the page."""

    name: str
    title: str
    current: bool


class ModelPicker:
    """What may be chosen in place of the model that is served.

    asked: the model that the server was started with; folder: where other models may lie. is_busy: tells
    whether runs go on, which must not lose their model. is_fixed: nothing may be chosen.
    """

    def __init__(
        self,
        current: str,
        *,
        asked: str,
        folder: Path,
        is_busy: Callable[[], bool],
        is_fixed: bool = False,
    ) -> None:
        self._current, self._is_busy = current, is_busy
        self._names = (current,) if is_fixed else _names(current, asked, folder)
        self._woken = threading.Event()
        self.chosen: str | None = None

    def choices(self) -> tuple[Choice, ...]:
        """Return the models that are here, the embedded one first; one alone where there is no choice."""
        return tuple(
            Choice(name=name, title=_title(name), current=name == self._current) for name in self._names
        )

    def choose(self, name: str) -> None:
        """Ask for another model; raise ModelUnavailable for what is not here, Busy while runs go on."""
        if name not in self._names:
            raise ModelUnavailable(f"{name[:80]!r} is not among the models here; reload the page.")
        if name == self._current:
            return
        if self._is_busy():
            raise Busy("Runs are going on with this model; change it when they have ended.")
        # What is broken is refused while there is still a model that works.
        find_card(name)
        self.chosen = name
        self._woken.set()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until another model is chosen; tell whether one was."""
        return self._woken.wait(timeout_seconds)


def _names(current: str, asked: str, folder: Path) -> tuple[str, ...]:
    found = [WORLD.name, current]
    try:
        find_card(asked)
        found.append(asked)
    except ModelUnavailable:
        # It was asked for and is not there; the page says so in its own place.
        pass
    found += [SDXL.name] if cached_folder(SDXL) is not None else []
    return tuple(dict.fromkeys([*found, *local_models(folder)]))


def _title(name: str) -> str:
    known = {WORLD.name: WORLD.title, SDXL.name: SDXL_CARD.title}
    return known.get(name) or Path(name).stem
