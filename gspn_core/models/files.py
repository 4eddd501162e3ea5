"""A model's files: what they are named by, and its configurations. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from gspn_core.errors import ModelUnavailable


def file_stats(path: Path) -> list[tuple[str, int, int]]:
    """Return the names, sizes and times of a model's files, without reports and other texts."""
    if path.is_file():
        configs = path.with_suffix("")
        stats = file_stats(configs) if configs.is_dir() else []
        return [(path.name, path.stat().st_size, path.stat().st_mtime_ns), *stats]
    files = sorted(file for file in path.rglob("*") if file.is_file())
    index = path / "model_index.json"
    if index.is_file():
        # Its parts are folders.
        files = [file for file in files if file.parent != path or file == index]
    stats = [(file.relative_to(path).as_posix(), file.stat()) for file in files]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def read_json(path: Path, name: str) -> dict:
    """Return a configuration of the model `name`.

    Raises:
        ModelUnavailable: The file is missing, cannot be read or is not a JSON object.
    """
    if not path.is_file():
        raise ModelUnavailable(
            f"model {name} has no {path.name} in {path.parent}; use “world” or a folder in diffusers' layout."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnavailable(f"model {name}: {path} cannot be read ({error}); copy it again.") from error
    if not isinstance(content, dict):
        raise ModelUnavailable(f"model {name}: {path} is not a valid configuration; copy it again.")
    return content
