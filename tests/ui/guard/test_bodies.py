"""No request can send without end, neither much nor slowly, and no address can hold all connections."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gspn_core.images.load import MAX_FILE_BYTES
from tests.ui.guard.conftest import Served
from ui.guard.bodies import MAX_BODY_BYTES, MAX_SEPARATORS, BoundedBodies
from ui.guard.connections import guard_connections

PREDICT = "/gradio_api/run/predict"


@pytest.mark.parametrize(
    ("route", "most"), [(PREDICT, MAX_BODY_BYTES), ("/gradio_api/upload", MAX_FILE_BYTES + 10**5)]
)
def test_a_large_body_is_refused_before_it_is_read(served: Served, route, most):
    head = f"POST {route} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {most + 1}\r\n\r\n"
    with socket.create_connection((served.client.base_url.host, served.client.base_url.port)) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert answer.startswith("HTTP/1.1 413 ") and answer.endswith("can be sent at once.")


def test_a_body_without_a_length_is_refused_where_it_grows_too_large(served: Served):
    sent = []

    def pieces():
        for _ in range(300):
            sent.append(1)
            yield b" " * 1_000_000

    answer = served.client.post(PREDICT, content=pieces())
    assert answer.status_code == 413 and answer.text.endswith("at once.")


@pytest.mark.parametrize("many", ['{"data":[' + "0," * (MAX_SEPARATORS + 1) + "0]}", "[" * 100_000])
def test_a_body_of_too_many_values_is_refused(served: Served, many):
    answer = served.client.post(PREDICT, content=many, headers={"content-type": "application/json"})
    assert answer.status_code in (413, 422, 400)
    assert served.client.get("/config").status_code == 200


def test_a_body_as_large_as_the_page_sends_is_taken(served: Served):
    event = next(one for one in served.events if one["api_name"] == "read")
    answer = served.ask(event, served.values(event), {"name": "a.png", "head": "A" * 1_398_100})
    assert answer.status_code == 200 and "is not a PNG" in answer.text


def answer_to(messages: list, **options) -> tuple[int, bytes]:
    """Return the answer to a request whose body comes as these messages, then no more."""

    async def application(_scope, receive, send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def ask() -> list:
        sent, left = [], list(messages)

        async def receive():
            if not left:
                await asyncio.Event().wait()
            return left.pop(0)

        async def send(message) -> None:
            sent.append(message)

        scope = {"type": "http", "path": PREDICT, "method": "POST", "headers": [(b"content-length", b"9")]}
        await BoundedBodies(application, **options)(scope, receive, send)
        return sent

    # In a thread of its own: another test's browser may hold this one's loop.
    with ThreadPoolExecutor(1) as apart:
        sent = apart.submit(lambda: asyncio.run(ask())).result()
    return sent[0]["status"], sent[1]["body"]


def test_a_body_that_stops_coming_is_given_up():
    piece = {"type": "http.request", "body": b"[1]", "more_body": True}
    status, body = answer_to([piece], piece_seconds=0.05)
    assert status == 408 and b"too slowly" in body
    status, _ = answer_to([piece], body_seconds=0.05)
    assert status == 408
    assert answer_to([piece, {**piece, "more_body": False}]) == (200, b"[1][1]")


def test_connections_that_ask_for_nothing_are_closed(served: Served):
    server = served.page.server
    before = server.config.http_protocol_class
    guard_connections(server, seconds=0.2, most=5)
    address = (server.config.host, server.config.port)
    opened = []
    try:
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "):
            connection = socket.create_connection(address, timeout=30)
            opened.append(connection)
            connection.sendall(sent)
            assert connection.recv(100) == b""
        held = [socket.create_connection(address, timeout=30) for _ in range(12)]
        opened += held
        began = time.monotonic()
        # All end; those beyond the bound are not waited for.
        assert [one.recv(1) for one in held] == [b""] * 12
        assert time.monotonic() - began < 20
    finally:
        server.config.http_protocol_class = before
        for connection in opened:
            connection.close()
    assert served.client.get("/config").status_code == 200


def test_a_deep_or_strange_body_is_no_fault_of_the_server(served: Served, capfd):
    for content in (
        b"\xff\xfe",
        b'{"data": ' + b"[" * 90_000,
        json.dumps({"data": {}}).encode(),
        b"9" * 6000,
    ):
        answer = served.client.post(PREDICT, content=content, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500, content[:20]
    assert "Traceback" not in "".join(capfd.readouterr())
