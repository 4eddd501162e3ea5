"""Records that were damaged, byte by byte and field by field: the server starts, and the rest is served."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gspn_core.errors import GspnError
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from gspn_core.studies.axis import Axis
from gspn_core.studies.runner import Studies
from tests.drills.figures import Figure
from tests.drills.toy import paint, plan_of
from tests.drills.victim import VISITOR

SEED = 20261128
RUNS = 4
VALUES = (
    *(None, True, -1, 0, 2**53, 10**400, 1e13, -0.5, float("nan"), float("inf")),
    *("", "x", "done", "../../etc/passwd", "\ud800", "a\0b", "9" * 5000),
    *([], [[]], {}, {"x": {}}, [None] * 3),
)


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Damage one record after another, `count` times, and look whether everything else is still there."""
    draw = random.Random(SEED)
    faults = dict.fromkeys(("start", "others", "sentence", "page"), 0)
    with tempfile.TemporaryDirectory(prefix="gspn-records-") as name:
        whole, folder = Path(name) / "whole", Path(name) / "damaged"
        ids = prepared(whole)
        records = sorted(path for path in whole.rglob("*.json") if path.is_file())
        for done in range(count):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            record = folder / records[done % len(records)].relative_to(whole)
            record.write_bytes(damaged(record.read_bytes(), draw))
            look(folder, ids, record, faults)
            tell(done + 1)
    return [
        Figure(what=f"starts that failed over {count} damaged records", value=faults["start"], bound=0),
        Figure(what="other runs or studies that were gone", value=faults["others"], bound=0),
        Figure(what="refusals that are not one sentence", value=faults["sentence"], bound=0),
        Figure(what="lists that could not be sent to a page", value=faults["page"], bound=0),
    ]


def prepared(folder: Path) -> list[str]:
    """Run some runs and a study in a folder and return the ids of the runs."""
    jobs = RunQueue(paint, folder, plan=plan_of, view_seconds=0.0)
    studies = Studies(jobs)
    try:
        base = Settings(prompt="a toy", seed=1, target=64)
        study = studies.start(
            studies.draft(base, [Axis(name="guidance_scale", values=(2.0, 3.0))]), visitor=VISITOR
        )
        list(studies.follow(study))
        ids = [
            jobs.submit(Settings(prompt="a toy", seed=i, target=128), visitor=VISITOR) for i in range(RUNS)
        ]
        for one in ids:
            list(jobs.follow(one))
            jobs.annotate(one, VISITOR, note="a note", favourite=True)
    finally:
        studies.close()
        jobs.close()
    return ids


def damaged(text: bytes, draw: random.Random) -> bytes:
    """Return a record with some bytes changed, cut off, or with one of its values replaced."""
    how = draw.randrange(4)
    if how == 0:
        return text[: draw.randrange(len(text))]
    if how == 1:
        changed = bytearray(text)
        for _ in range(draw.randint(1, 8)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        return bytes(changed)
    record = json.loads(text)
    places = list(_places(record))
    if not places:
        return b"[]"
    holder, key = draw.choice(places)
    if how == 2:
        holder[key] = draw.choice(VALUES)
    elif isinstance(holder, dict):
        del holder[key]
    return json.dumps(record).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _places(inner)


def look(folder: Path, ids: list[str], record: Path, faults: dict[str, int]) -> None:
    """Start over a folder with one damaged record and count what is wrong besides it."""
    try:
        jobs = RunQueue(paint, folder, plan=plan_of, view_seconds=0.0)
    except Exception:
        faults["start"] += 1
        return
    studies = Studies(jobs)
    try:
        for one in ids:
            _look_at(jobs, one, is_damaged=one in record.parts, faults=faults)
        listed = {summary.id for summary in jobs.history(VISITOR)}
        shown = [study for study in studies.list(VISITOR) if "studies" not in record.parts]
        faults["others"] += len({one for one in ids if one not in record.parts} - listed)
        faults["others"] += "studies" not in record.parts and len(shown) != 1
        faults["page"] += not _can_be_sent([vars(one) for one in jobs.history(VISITOR)])
    except Exception:
        faults["page"] += 1
    finally:
        studies.close()
        jobs.close()


def _look_at(jobs: RunQueue, job_id: str, *, is_damaged: bool, faults: dict[str, int]) -> None:
    try:
        jobs.view(job_id)
    except GspnError as refusal:
        faults["others"] += not is_damaged
        faults["sentence"] += "\n" in str(refusal) or not str(refusal).endswith(".")


def _can_be_sent(value: Any) -> bool:
    try:
        json.dumps(value, default=str, allow_nan=False).encode()
    except ValueError:
        return False
    return True
