"""Where the parts of a model come from: a folder here, or files of the Hub that are fetched with progress."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gspn_core.events import ModelProgress
from gspn_core.models.catalog import Extras, extra_source, model_folder
from gspn_core.models.hub import SDXL, Snapshot, commit_of, fetch

OnProgress = Callable[[ModelProgress], None]


def local_source(name_or_path: str, on_progress: OnProgress) -> Path:
    """Return the folder or file of a model, fetched if it is SDXL and not here."""
    folder = model_folder(name_or_path)
    return fetched(SDXL, on_progress) if name_or_path == SDXL.name and not folder.exists() else folder


def fetched(snapshot: Snapshot, on_progress: OnProgress) -> Path:
    """Return the folder of a snapshot, fetched if it is not here."""

    def progress(done: int, total: int) -> None:
        on_progress(ModelProgress(doing="fetch", part=snapshot.name, done_bytes=done, total_bytes=total))

    return fetch(snapshot, progress)


def extra_folder(name_or_path: str | None, on_progress: OnProgress) -> Path | None:
    """Return the folder of an extra, fetched if it is not here; None where none is named."""
    if name_or_path is None:
        return None
    source = extra_source(name_or_path)
    return source if isinstance(source, Path) else fetched(source, on_progress)


def revisions(extras: Extras) -> tuple[str, ...]:
    """Return a sentence for each extra whose revision is not fixed, with the commit that was loaded."""
    snapshots = [extra_source(value) for value in extras.sources.values()]
    return tuple(
        f"{snapshot.name} was read at commit {commit} of {snapshot.repo}, whose revision is not fixed; keep "
        f"it by naming {snapshot.name}@{commit}."
        for snapshot in snapshots
        if isinstance(snapshot, Snapshot)
        and not snapshot.is_fixed
        and (commit := commit_of(snapshot)) is not None
    )
