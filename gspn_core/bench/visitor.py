"""A visitor without a browser: sends a served page the same HTTP requests as its scripts do.

Depends only on the ids of the page's elements and the names of their events.
"""

from __future__ import annotations

import json
import secrets
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Timeout of an answer, and of a silent stream.
LIMIT_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Message:
    """The page's answer to an event: kind, seconds since the event, bytes, and outputs.

    outputs: the first answer as a list; later answers have only changes and are left out.
    """

    kind: str
    since_seconds: float
    bytes: int
    outputs: list[Any] | None = None


class Visitor:
    """One visitor of the page at an address that ends in a slash."""

    def __init__(self, address: str) -> None:
        self._address = address
        config = _answer(urllib.request.Request(f"{address}config"))
        # The page creates a token for a run that is requested without one.
        self._tokens: dict[str, str] = {}
        self._api = address.rstrip("/") + config.get("api_prefix", "")
        self._components = {part["id"]: part for part in config["components"]}
        # What only ends other events at the same press has no inputs.
        self._events = {
            (self._name(target), event): known
            for known in sorted(config["dependencies"], key=lambda known: len(known["inputs"]))
            for target, event in known["targets"]
        }

    def get(self) -> float:
        """Load the page's HTML and return the seconds until it was complete."""
        began = time.perf_counter()
        with urllib.request.urlopen(self._address, timeout=LIMIT_SECONDS) as answer:
            answer.read()
        return time.perf_counter() - began

    def run(self, settings: Mapping[str, Any]) -> Iterator[Message]:
        """Press Run with the default form and `settings`; yield the page's messages to the end."""
        values = self._values("run", "click")
        unknown = settings.keys() - {name.removeprefix("field-") for name in values}
        if unknown:
            raise SystemExit(f"The page's form has no {', '.join(sorted(unknown))}.")
        held = [settings.get(name.removeprefix("field-"), value) for name, value in values.items()]
        return self._follow("run", "click", held)

    def follow(self, job_id: str) -> Iterator[Message]:
        """Follow a run like a page opened with its link; yield the page's messages."""
        return self._follow("screen", "reattach", [job_id, self._tokens.get(job_id)], {"job": job_id})

    def stop(self, job_id: str) -> float:
        """Press Stop as the run's owner and return the seconds until the answer.

        `job_of` must have read the run's first answer, which has the visitor's token.
        """
        began = time.perf_counter()
        self._post("/run/predict", self._body("stop", "click", [job_id, self._tokens.get(job_id)]))
        return time.perf_counter() - began

    def job_of(self, message: Message) -> str | None:
        """Return the run's id from the first answer to Run."""
        outputs = self._events["run", "click"]["outputs"]
        kept = {
            self._components[part]["props"].get("storage_key"): value
            for part, value in zip(outputs, message.outputs or (), strict=False)
        }
        job_id, token = kept.get("gspn-studio-job"), kept.get("gspn-studio-visitor")
        if isinstance(job_id, str) and isinstance(token, str):
            self._tokens[job_id] = token
        return job_id if isinstance(job_id, str) else None

    def _follow(self, name: str, event: str, data: list[Any], payload: Any = None) -> Iterator[Message]:
        body = self._body(name, event, data, payload)
        began = time.perf_counter()
        self._post("/queue/join", body)
        address = f"{self._api}/queue/data?session_hash={body['session_hash']}"
        answered = False
        with urllib.request.urlopen(address, timeout=LIMIT_SECONDS) as stream:
            for line in stream:
                if not line.startswith(b"data:"):
                    continue
                values = json.loads(line[5:])
                kind = values["msg"]
                new = kind == "process_generating" and not answered
                outputs = values["output"]["data"] if new else None
                answered |= new
                since = time.perf_counter() - began
                if kind == "process_completed" and not values["success"]:
                    raise SystemExit(f"The page refused {name} {event}: {values['output'].get('error')}.")
                yield Message(kind=kind, since_seconds=since, bytes=len(line), outputs=outputs)
                if kind == "process_completed":
                    return
        raise SystemExit(f"The page ended {name} {event} without an answer.")

    def _body(self, name: str, event: str, data: list[Any], payload: Any = None) -> dict[str, Any]:
        return {
            "data": data,
            "fn_index": self._event(name, event)["id"],
            "event_data": payload,
            "session_hash": secrets.token_hex(8),
            "trigger_id": None,
        }

    def _values(self, name: str, event: str) -> dict[str, Any]:
        return {
            self._name(part) or str(part): self._components[part]["props"].get("value")
            for part in self._event(name, event)["inputs"]
        }

    def _event(self, name: str, event: str) -> dict[str, Any]:
        known = self._events.get((name, event))
        if known is None:
            raise SystemExit(f"The page at {self._address} has no {name} {event}; is it GSPN Studio?")
        return known

    def _name(self, part: int | None) -> str | None:
        return self._components.get(part, {}).get("props", {}).get("elem_id")

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        return _answer(urllib.request.Request(self._api + path, json.dumps(body).encode(), headers))


def _answer(request: urllib.request.Request) -> dict[str, Any]:
    with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as answer:
        return json.load(answer)
