"""Settings in the page's address: `?prompt=a+lake&seed=7&target=512` fills the form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.kinds.kind import CONTROL
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import ModelCard
from gspn_core.settings import FIELD_NAMES, INTEGERS, RANGES, STARTING, Settings
from ui.form.form import initial_values, values_of
from ui.shared.strings import studio_strings

# An address with a longer value in it is refused.
MOST_CHARACTERS = 4000
# A picture is kept on this server for whoever sent it, and no address can bring it, nor what reads it.
_NAMES = tuple(name for name in FIELD_NAMES if name not in STARTING and name not in CONTROL)
# Empty they say something; of any other setting an empty value leaves it open.
_TEXTS = frozenset({"prompt", "negative_prompt"})


def settings_in(query: Mapping[str, str], card: ModelCard) -> dict[str, Any] | None:
    """Return what the form is to hold, by name, for an address with settings in it; None for one without.

    Args:
        query: The address's parameters; those that are no settings are left out.
        card: The model's, with what the settings are that the address leaves open.

    Raises:
        BadSetting: A value cannot be, or the model cannot run it.
    """
    given = {
        name: _value(name, query[name]) for name in _NAMES if query.get(name) or name in _TEXTS & set(query)
    }
    if not given:
        return None
    settings = Settings.from_dict({"prompt": initial_values(card)["prompt"], **given})
    make_plan(settings, card)
    return dict(zip(FIELD_NAMES, values_of(settings.to_dict(), card), strict=True)) | (
        {} if "seed" in given else {"seed": ""}
    )


def _value(name: str, text: str) -> Any:
    """Return a parameter as the setting's type; what is not of it stays a text, and Settings says so."""
    if len(text) > MOST_CHARACTERS:
        raise BadSetting(name, studio_strings.link_too_long(name, len(text), MOST_CHARACTERS))
    if name not in RANGES:
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if name in INTEGERS and number.is_integer() else number
