"""Who tells how much of its prompt a model's picture shows."""

from __future__ import annotations

from gspn_core.metrics.adherence import PromptAdherence
from gspn_core.models.catalog import WORLD
from gspn_core.planning.types import ModelCard


def find_adherence(card: ModelCard) -> PromptAdherence | None:
    """Return what judges the embedded model's pictures; None for any other, whose prompts name anything."""
    return PromptAdherence() if card.name == WORLD.name else None
