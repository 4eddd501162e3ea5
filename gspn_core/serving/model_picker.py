"""The models that a server's page offers, and the choice of another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gspn_core.errors import Busy, ModelUnavailable
from gspn_core.models.catalog import SDXL_CARD, embedded_cards, find_card, local_models
from gspn_core.models.hub import SDXL, cached_folder


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A model that may be chosen.

    Args:
        name: As `load_model` takes it.
        title: As the page shows it.
        current: Whether it is the one that is served.
    """

    name: str
    title: str
    current: bool


class ModelPicker:
    """What may be chosen in place of the model that is served.

    Args:
        current: The model that is served.
        requested: The model that the server was started with.
        folder: Where other models may be.
        is_busy: Returns whether runs are in progress, which must not lose their model.
        is_fixed: Only the host may choose another model, by starting the server with it.
    """

    def __init__(
        self,
        current: str,
        *,
        requested: str,
        folder: Path,
        is_busy: Callable[[], bool],
        is_fixed: bool = False,
    ) -> None:
        self._current, self._is_busy = current, is_busy
        names = _names(current, requested, folder)
        self._names = (current,) if is_fixed else names
        self.is_withheld = is_fixed and len(names) > 1
        self._woken = threading.Event()
        self.chosen: str | None = None

    def choices(self) -> tuple[Choice, ...]:
        """Return the models that are here, the embedded one first; a single one if there is no choice."""
        return tuple(
            Choice(name=name, title=_title(name), current=name == self._current) for name in self._names
        )

    def choose(self, name: str) -> None:
        """Choose the model to serve next; the one that is served changes nothing.

        Raises:
            ModelUnavailable: It is not offered here, or its files are no longer complete.
            Busy: Runs are in progress.
        """
        if self.is_withheld and name != self._current:
            raise ModelUnavailable("The model is for all visitors of this page; only its host changes it.")
        if name not in self._names:
            raise ModelUnavailable(f"{name[:80]!r} is not among the models here; reload the page.")
        if name == self._current:
            return
        if self._is_busy():
            raise Busy("This model has runs in progress; change it when they have finished.")
        # A broken model is refused while there is still one that works.
        find_card(name)
        self.chosen = name
        self._woken.set()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until another model is chosen; return whether one was."""
        return self._woken.wait(timeout_seconds)


def _names(current: str, requested: str, folder: Path) -> tuple[str, ...]:
    found = [*(card.name for card in embedded_cards()), current]
    try:
        find_card(requested)
        found.append(requested)
    except ModelUnavailable:
        # It was requested and is not there; the page says so in its masthead.
        pass
    found += [SDXL.name] if cached_folder(SDXL) is not None else []
    return tuple(dict.fromkeys([*found, *local_models(folder)]))


def _title(name: str) -> str:
    known = {card.name: card.title for card in (*embedded_cards(), SDXL_CARD)}
    return known.get(name) or Path(name).stem
