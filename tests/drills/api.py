"""Requests that schemathesis makes of the published functions' OpenAPI document, valid ones and others."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from tests.drills.drawn import drawn
from tests.drills.figures import Figure
from tests.drills.server import Address, serving_apart

SEED = 20261129
ANSWER_SECONDS = 30


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Send `count` requests as the document describes them, or as it does not, and fetch each answer."""
    with (
        tempfile.TemporaryDirectory(prefix="gspn-api-") as folder,
        serving_apart(Path(folder)) as (address, _process, log),
    ):
        asked, faults = asked_for(address, count, tell)
        said = log.read_text("utf-8", "replace")
    functions = {path for path, _ in asked}
    return [
        Figure(what="requests sent", value=sum(asked.values()), bound=count, at_least=True),
        Figure(what="operations of the document", value=len(functions), bound=9, at_least=True),
        Figure(
            what="requests that were taken",
            value=sum(number for (_, is_taken), number in asked.items() if is_taken),
            bound=1,
            at_least=True,
        ),
        Figure(what="answers of 500 or above", value=faults["server"], bound=0),
        Figure(what="requests without an answer", value=faults["dropped"], bound=max(1, count // 100)),
        Figure(what="events without an end", value=faults["endless"], bound=0),
        Figure(what="tracebacks in the log", value=said.count("Traceback"), bound=0, seen=said[-600:]),
    ]


def asked_for(
    address: Address, count: int, tell: Callable[[int], None]
) -> tuple[Counter[tuple[str, bool]], Counter[str]]:
    """Send the requests; return how many each operation was sent and took, and the faults of the answers."""
    document = address.client.get("/gradio_api/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    cases = st.one_of(
        [
            found.ok().as_strategy(generation_mode=mode)
            for found in schema.get_all_operations()
            for mode in GenerationMode
        ]
    )
    asked: Counter[tuple[str, bool]] = Counter()
    faults: Counter[str] = Counter()
    session = requests.Session()
    session.trust_env = False

    @drawn(cases, count=count, of_seed=SEED)
    def one(case: Any) -> None:
        status = sent(address, session, case, faults)
        faults["server"] += status >= 500
        asked[case.operation.path, status == 200] += 1
        tell(asked.total())

    one()
    while asked.total() < count:
        one()
    return asked, faults


def sent(address: Address, session: requests.Session, case: Any, faults: Counter[str]) -> int:
    """Send one request and return the status of its answer; follow the event that it begins to its end."""
    try:
        answer = case.call(base_url=str(address.client.base_url), session=session, timeout=ANSWER_SECONDS)
    except requests.Timeout:
        faults["endless"] += 1
        return 0
    except requests.RequestException:
        faults["dropped"] += 1
        return 0
    name = case.operation.path.removeprefix("/gradio_api/call/v2/")
    if answer.status_code == 200 and name != case.operation.path:
        event = answer.json()["event_id"]
        text = address.client.get(f"/gradio_api/call/{name}/{event}").text
        faults["endless"] += "event: complete" not in text and "event: error" not in text
    return answer.status_code
