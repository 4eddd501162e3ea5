"""Folders that are deleted, replaced, or made read-only under a running server, which goes on."""

from __future__ import annotations

import json
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.drills.figures import Figure
from tests.drills.server import Address, serving_apart
from tests.drills.victim import VISITOR

SEED = 20261129
LONGEST_SECONDS = 0.4
_TRIES = 50
_WRITABLE, _READ_ONLY = 0o755, 0o555


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Do something to a folder of a running server, `count` times, each during a run; then run once more."""
    draw, faults = random.Random(SEED), dict.fromkeys(("unsaid", "page", "stuck", "met"), 0)
    with (
        tempfile.TemporaryDirectory(prefix="gspn-folders-") as name,
        serving_apart(Path(name), step_seconds=0.03, obeys_permissions=True) as (address, process, log),
    ):
        jobs = Path(name) / "jobs"
        for done in range(count):
            kind = KINDS[done % len(KINDS)]
            meet(address, jobs, kind, draw, faults)
            faults["stuck"] += ended(address, started(address, 2 * done + 1))["state"] != "done"
            tell(done + 1)
        is_alive = process.poll() is None
        said = log.read_text("utf-8", "replace")
    return [
        Figure(
            what=f"of {count} runs, those that the change ended", value=faults["met"], bound=1, at_least=True
        ),
        Figure(what="runs that ended without a sentence", value=faults["unsaid"], bound=0),
        Figure(what="pages and lists that were not answered meanwhile", value=faults["page"], bound=0),
        Figure(what="later runs that did not reach their end", value=faults["stuck"], bound=0),
        Figure(what="tracebacks in the log", value=said.count("Traceback"), bound=0, seen=said[-500:]),
        Figure(what="servers that ended", value=not is_alive, bound=0),
    ]


def meet(
    address: Address,
    jobs: Path,
    kind: Callable[[Path], Any],
    draw: random.Random,
    faults: dict[str, int],
) -> None:
    """Change a folder in the midst of a run, look at the page, let the run end, and change it back."""
    run = started(address, draw.randrange(10**6))
    time.sleep(draw.random() * LONGEST_SECONDS)
    with kind(jobs / run if draw.random() < 0.5 and run else jobs):
        faults["page"] += not answers(address)
        view = ended(address, run) if run else {"state": "failed", "error": "refused."}
    faults["met"] += view["state"] != "done"
    faults["unsaid"] += view["state"] not in ("done", "gone") and not is_sentence(view.get("error"))


def started(address: Address, seed: int) -> str:
    """Return the id of a new run, "" where it was refused."""
    event = address.event("run")
    arguments = address.arguments("run", prompt="a toy", target=256, seed=seed)
    answer = address.ask(event, arguments)
    return answer.json()["data"][0] if answer.status_code == 200 else ""


def ended(address: Address, run: str) -> dict[str, Any]:
    """Return the last state of a run; one whose record is gone is in the state “gone”."""
    text = address.ask(address.event("follow"), [run]).text
    found = [json.loads(line) for line in re.findall(r"^data: (.*)$", text, re.MULTILINE)]
    views = [one["output"].get("data") or [] for one in found if "output" in one]
    states = [view[0] for view in views if view and isinstance(view[0], dict) and "state" in view[0]]
    if states:
        return states[-1]
    errors = [one["output"].get("error") for one in found if "output" in one]
    return {"state": "gone" if any(map(is_sentence, errors)) else "nothing", "error": text[-300:]}


def answers(address: Address) -> bool:
    """Return whether the page and a visitor's list of runs are answered."""
    if address.client.get("/config").status_code != 200:
        return False
    history = next(
        event
        for event in address.events
        if event["inputs"] and event["targets"] and event["targets"][0][1] == "refresh"
    )
    return address.ask(history, [VISITOR], {}).status_code in (200, 422)


def is_sentence(text: Any) -> bool:
    """Return whether a message is one line that ends as a sentence does."""
    return isinstance(text, str) and text.endswith(".") and "\n" not in text


@contextmanager
def deleted(folder: Path) -> Iterator[None]:
    """Delete a folder; the server makes it again."""
    shutil.rmtree(folder, ignore_errors=True)
    yield


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Put an empty folder in its place."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.mkdir()
    yield
    shutil.rmtree(aside)


@contextmanager
def replaced_by_a_file(folder: Path) -> Iterator[None]:
    """Put a file in its place until the block ends."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    _put(folder, lambda: folder.write_bytes(b"in the way"))
    yield
    folder.unlink()
    aside.rename(folder)


@contextmanager
def replaced_by_another(folder: Path) -> Iterator[None]:
    """Put a copy in its place, as a backup would that is played back."""
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside, copy_function=_copy, dirs_exist_ok=True)
    _put(folder, lambda: aside.rename(folder))
    yield


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write from it until the block ends."""
    folder.chmod(_READ_ONLY)
    yield
    folder.chmod(_WRITABLE)


def _copy(source: str, target: str) -> None:
    """Copy a file, unless the server, which goes on, has renamed it since the folder was listed."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def _put(folder: Path, put: Callable[[], Any]) -> None:
    """Put something in the place of a folder, which the server may make again at any time."""
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            put()
            return
    raise RuntimeError(f"{folder} was made again {_TRIES} times.")


KINDS = (deleted, emptied, replaced_by_a_file, replaced_by_another, read_only)
