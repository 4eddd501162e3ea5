"""Model files that vanish or change while a model is read, or while it draws."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gspn_core.errors import GspnError
from gspn_core.events import StageDone
from gspn_core.settings import Settings
from tests.drills.figures import Figure
from tests.drills.folders import is_sentence

SEED = 20261129
SETTINGS = Settings(prompt="a toy", seed=1, num_inference_steps=1)


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Take files from a model `count` times; it is refused in a sentence, or it draws what it always did."""
    from gspn_core.models.random_weights import write_random_model

    draw, faults = random.Random(SEED), dict.fromkeys(("refused", "unsaid", "differ"), 0)
    with tempfile.TemporaryDirectory(prefix="gspn-models-") as name:
        whole, folder = Path(name) / "whole", Path(name) / "model"
        write_random_model(whole, "small")
        shutil.copytree(whole, folder)
        wanted = drawn(loaded(folder, lambda _: None))
        for done in range(count):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            meet(folder, LOSSES[done % len(LOSSES)], draw, wanted, faults)
            tell(done + 1)
    return [
        Figure(what=f"of {count} models, those refused", value=faults["refused"], bound=1, at_least=True),
        Figure(what="refusals that are not one sentence", value=faults["unsaid"], bound=0),
        Figure(what="models that were read and drew something else", value=faults["differ"], bound=0),
    ]


def meet(
    folder: Path,
    lose: Callable[[Path, random.Random], None],
    draw: random.Random,
    wanted: bytes,
    faults: dict[str, int],
) -> None:
    """Lose files at a time that is drawn while a model is read, and all of them afterwards; then draw."""
    left = draw.randrange(12)

    def on_progress(_progress: Any) -> None:
        nonlocal left
        if left == 0:
            lose(folder, draw)
        left -= 1

    try:
        engine = loaded(folder, on_progress)
        for path in folder.rglob("*.safetensors"):
            path.write_bytes(b"")
        shutil.rmtree(folder, ignore_errors=True)
        faults["differ"] += drawn(engine) != wanted
    except GspnError as refusal:
        faults["refused"] += 1
        faults["unsaid"] += not is_sentence(str(refusal))
    except Exception:
        faults["unsaid"] += 1


def loaded(folder: Path, on_progress: Callable[[Any], None]) -> Any:
    """Return the engine of a model's folder."""
    from gspn_core.engine import Engine
    from gspn_core.models.loading import load_model

    return Engine(load_model(str(folder), device="cpu", on_progress=on_progress))


def drawn(engine: Any) -> bytes:
    """Return the pixels of the last stage that an engine draws."""
    events = [*engine.run(engine.plan(SETTINGS))]
    return [event for event in events if isinstance(event, StageDone)][-1].image.tobytes()


def file_deleted(folder: Path, draw: random.Random) -> None:
    """Delete one file."""
    draw.choice(sorted(path for path in folder.rglob("*") if path.is_file())).unlink()


def folder_deleted(folder: Path, draw: random.Random) -> None:
    """Delete the folder, or that of one part."""
    parts = sorted(path for path in folder.iterdir() if path.is_dir())
    shutil.rmtree(draw.choice([folder, *parts]), ignore_errors=True)


def file_replaced(folder: Path, draw: random.Random) -> None:
    """Put an empty file in the place of one, as a download does that is begun again."""
    path = draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    path.with_name("new").write_bytes(b"")
    path.with_name("new").replace(path)


LOSSES = (file_deleted, folder_deleted, file_replaced)
