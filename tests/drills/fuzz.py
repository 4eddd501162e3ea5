"""Requests that no page sends, over every event that the server has."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx
from hypothesis import strategies as st

from tests.drills.drawn import drawn
from tests.drills.figures import Figure, quantile
from tests.drills.server import STALLS, VISITOR, Address, serving_apart
from tests.drills.stalls import WAIT_SECONDS, wait_figures
from tests.drills.toy import resident_bytes
from tests.drills.visitor import another_visitor

SEED = 20261128
GROWN_MB = 100.0

_NAMES = (
    *("job", "stage", "target", "index", "note", "favourite", "limit", "before", "query", "study", "what"),
    *("cell", "ref", "axes", "name", "text", "turn", "path", "meta", "url", "head", "sha256", "shown"),
    *("value", "items", "is_stream", "__type__"),
)
_KEYS = st.sampled_from(_NAMES) | st.text(max_size=8)
_ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats()
    | st.text(max_size=60)
    | st.sampled_from(
        [
            "",
            VISITOR,
            "\ud800",
            "a\0b",
            "../../etc/passwd",
            "/etc/passwd",
            "9" * 5000,
            "x" * 30_000,
            "\\" * 5000 + '"',
            "1024.seed=" * 3000,
            "http://127.0.0.1/",
            "=cmd|' /C calc'!A0",
        ]
    )
)
VALUES = st.recursive(
    _ATOMS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Send `count` requests with wrong values, while another visitor asks for something small."""
    with (
        tempfile.TemporaryDirectory(prefix="gspn-fuzz-") as folder,
        serving_apart(Path(folder)) as (address, process, log),
    ):
        before = resident_bytes(process.pid)
        with another_visitor(address.port) as waits:
            sent, dropped = fuzzed(address, count, tell)
        grown = (resident_bytes(process.pid) - before) / 2**20
        address.client.get("/config").raise_for_status()
        said = log.read_text("utf-8", "replace")
        waited = wait_figures(waits, Path(folder) / STALLS)
    return [
        Figure(what="requests sent", value=sent, bound=count, at_least=True),
        Figure(what="requests without an answer", value=dropped, bound=max(1, count // 1000)),
        Figure(what="tracebacks in the log", value=said.count("Traceback"), bound=0, seen=_raised(said)),
        *waited,
        Figure(what="99.9 % of waits, at most", value=quantile(waits, 0.999), bound=WAIT_SECONDS, unit="s"),
        Figure(what="half of waits, at most", value=quantile(waits, 0.5), bound=WAIT_SECONDS, unit="s"),
        Figure(what="memory more than before", value=grown, bound=GROWN_MB, unit="MB"),
    ]


def fuzzed(address: Address, count: int, tell: Callable[[int], None]) -> tuple[int, int]:
    """Send the requests and return how many there were, and how many got no answer."""
    events, sent, dropped = address.events, 0, 0

    @drawn(st.data(), count=count, of_seed=SEED)
    def one(data: st.DataObject) -> None:
        nonlocal sent, dropped
        event = data.draw(st.sampled_from(events))
        values = [VISITOR if value is None else value for value in address.values(event)]
        how = data.draw(st.sampled_from(("one", "all", "fewer", "as they are")))
        if how == "one" and values:
            values[data.draw(st.integers(0, len(values) - 1))] = data.draw(VALUES)
        elif how == "all":
            values = [data.draw(VALUES) for _ in values[:12]] + values[12:]
        elif how == "fewer":
            values = values[: data.draw(st.integers(0, len(values)))]
        try:
            address.ask(event, values, data.draw(VALUES))
        except httpx.TransportError:
            dropped += 1
        sent += 1
        tell(sent)

    one()
    while sent < count:
        one()
    return sent, dropped


def _raised(said: str) -> str:
    """Return what the tracebacks of a log end with, each shortened: the place and the error."""
    found = re.findall(r"^Traceback.*\n((?:[ \t].*\n)*)(\S.*)", said, re.MULTILINE)
    return "; ".join(f"{' '.join(frames.split())[-300:]} {error[:200]}" for frames, error in found[:3])
