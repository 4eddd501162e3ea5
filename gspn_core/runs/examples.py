"""Finished runs that come with a model: copied into a server's runs, and opened like any other."""

from __future__ import annotations

import logging
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from gspn_core.runs.store import Store

RECORD = "job.json"
# How the ids of examples begin; those of runs are drawn at random.
PREFIX = "example-"
_log = logging.getLogger(__name__)


def is_example(job_id: str) -> bool:
    """Return whether a run is an example, of whichever model."""
    return job_id.startswith(PREFIX)


def example_ids(folder: Path) -> tuple[str, ...]:
    """Return the ids of the runs in a folder of examples, in their order."""
    return tuple(sorted(record.parent.name for record in folder.glob(f"{PREFIX}*/{RECORD}")))


def install_examples(folder: Path, runs_folder: Path) -> tuple[str, ...]:
    """Copy the example runs of a folder into a server's runs, unless they are there already.

    Args:
        folder: the examples, a run's folder each, as `gspn_core.runs.store` writes it.
        runs_folder: the server's runs. Call this before its `RunQueue` is made, which reads what is there.

    Returns:
        The ids of those that are there now, in their order. One that cannot be written is left out: the page
        opens without it.
    """
    store, there = Store(runs_folder), []
    for unfinished in runs_folder.glob(f".{PREFIX}*.part"):
        shutil.rmtree(unfinished, ignore_errors=True)
    for job_id in example_ids(folder):
        target = store.folder_of(job_id)
        if not _is_same(folder / job_id / RECORD, target / RECORD):
            try:
                _copy(folder / job_id, target)
            except OSError as error:
                _log.warning("The example %s could not be put into %s (%s).", job_id, runs_folder, error)
                continue
        there.append(job_id)
    return tuple(there)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _copy(source: Path, target: Path) -> None:
    """Copy a run's folder, which appears whole or not at all."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        shutil.copytree(source, temporary)
        # A checkout may be read-only; a run's folder takes the figures of comparisons.
        for path in (temporary, *temporary.rglob("*")):
            path.chmod(path.stat().st_mode | stat.S_IRUSR | stat.S_IWUSR)
        # An earlier version's, or what is left of one that lost its record, gives way.
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary)
