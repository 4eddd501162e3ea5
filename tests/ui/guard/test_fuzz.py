"""Events that are sent what no page sends say so in a sentence; nothing of this project's fails on it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.ui.guard.conftest import VISITOR, Served

SEED, ROUNDS = 20261128, 9
NASTY: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1e308,
    float("nan"),
    10**400,
    "",
    "x" * 30_000,
    "\ud800",
    "a\0b",
    "../../etc/passwd",
    "9" * 5000,
    [],
    [None, 3, "a"],
    [[[[]]]],
    {},
    {"a": {"b": [1]}},
    {"name": ["x"], "value": {}, "items": {"0": 1}, "axes": "no", "job": {}, "stage": "1", "index": "x"},
    {"axes": [{"name": 3, "text": [], "stage": "9" * 400}], "turn": {}},
    {"head": 3, "name": [], "sha256": 5, "shown": 7, "before": {"a": 1}},
    {"job": "\udfff", "note": 5, "favourite": "x", "limit": 1e308, "query": {}},
    {"path": "/etc/passwd", "note": {"path": "/etc/passwd"}},
    {"study": 5, "what": {}, "cell": "x", "ref": [], "path": {}, "target": None},
)


def mutated(draw: random.Random, held: list[Any]) -> tuple[list[Any], Any]:
    """Return an event's inputs with one, all or a missing one of them made wrong, and what comes with it."""
    data, how = list(held), draw.random()
    if how < 0.6 and data:
        data[draw.randrange(len(data))] = draw.choice(NASTY)
    elif how < 0.8:
        data = [draw.choice(NASTY) for _ in data]
    elif how < 0.9:
        data = data[: draw.randrange(len(data) + 1)]
    return data, draw.choice(NASTY)


def test_no_wrong_payload_fails_in_our_code(served: Served, capfd):
    draw = random.Random(SEED)
    count = 0
    for event in served.events:
        held = [VISITOR if value is None else value for value in served.values(event)]
        for _ in range(ROUNDS):
            data, sent = mutated(draw, held)
            answer = served.ask(event, data, sent)
            printed = capfd.readouterr()
            assert "Traceback" not in printed.out + printed.err, (event["targets"], data, sent)
            assert answer.status_code < 500, (event["targets"], data, sent)
            count += 1
    assert count > 300


@pytest.mark.parametrize(
    "sent",
    [
        {"path": "", "note": {"path": "/x", "meta": {}}},
        {"note": {"path": "x" * 30_000}},
        {"note": [{"path": "a\0b"}]},
        {"path": "x/" * 4000},
        "\ud800",
        [[[[[[[]]]]]]] * 3,
    ],
)
def test_a_refusal_is_one_sentence(served: Served, sent):
    event = next(one for one in served.events if one["api_name"] == "annotate")
    answer = served.ask(event, [VISITOR], {"note": sent})
    assert answer.status_code in (200, 422)
    if answer.status_code == 422:
        said = json.loads(answer.text)["error"]
        assert said.endswith(".") and said.count(".") == 1
