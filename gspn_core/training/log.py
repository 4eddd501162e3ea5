"""The log of a training run: lines and sheets of pictures."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image


class Log:
    """Writes one line per call to the screen and one JSON object to a file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def __call__(self, **values: float | int | str) -> None:
        """Write the values in the order given."""
        text = " ".join(f"{name} {_short(value)}" for name, value in values.items())
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        sys.stdout.flush()
        with self.path.open("a") as lines:
            lines.write(json.dumps(values) + "\n")


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def save_sheet(path: Path, rows: list[np.ndarray]) -> None:
    """Write rows of pictures, each uint8 (N, H, W, 3), as one PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    Image.fromarray(sheet).save(path)
