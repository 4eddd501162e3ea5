"""What a worker sends to the server next to a run's events: what it is, and errors as data."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from gspn_core.errors import GspnError, ModelUnavailable
from gspn_core.planning.types import ModelCard
from gspn_core.runtime.version import code_version

_PACKAGES = ("torch", "diffusers", "transformers")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error on its way between two processes."""

    error: GspnError


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a worker has loaded.

    versions: of the code and the packages that compute a picture, by name. machine: in a few words, what it
    runs on. timing_key: see `Engine.timing_key`, "" for an engine that cannot be measured.
    """

    versions: tuple[tuple[str, str], ...]
    model: str
    fingerprint: str
    machine: str
    timing_key: str
    host: str
    process_id: int


def versions() -> tuple[tuple[str, str], ...]:
    """Return the versions of the code and of the packages that compute a picture, by name."""
    found = [("the code", code_version()), ("Python", ".".join(platform.python_version_tuple()[:2]))]
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append((name, "none"))
    return tuple(found)


def check_facts(facts: Facts, card: ModelCard) -> None:
    """Raise ModelUnavailable where a worker would draw other pictures than the server's plans say."""
    here = dict(versions())
    for name, version in facts.versions:
        if version != here.get(name):
            raise ModelUnavailable(
                f"The worker on {facts.host} has {version} of {name} and the server {here.get(name)}; "
                "install the same version on both."
            )
    if (facts.model, facts.fingerprint) != (card.name, card.fingerprint):
        raise ModelUnavailable(
            f"The worker on {facts.host} has other files of the model {card.name} than the server; copy the "
            "server's there."
        )


def opened(message: Any) -> Any:
    """Return what a worker answered, or raise the error that it sent."""
    if isinstance(message, Failure):
        raise message.error
    return message
