"""With a password nothing but the sign-in page is open, and wrong passwords are slowed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.ui.guard.conftest import serving
from ui.guard.login import FREE_TRIES, MOST_WAIT_SECONDS, SlowLogin, network_of
from ui.guard.routes import find_route

NAME, PASSWORD = "me", "a long password"
VALUES = {"api_name": "run", "path_or_url": "/etc/passwd", "url_path": "http://127.0.0.1/"}


@pytest.fixture(scope="module")
def locked(toy_card, tmp_path_factory) -> Iterator[tuple]:
    """Serve the page with a password and, though app.py would refuse that, with tools for agents."""
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    folder = tmp_path_factory.mktemp("locked") / "jobs"
    with serving(toy_card, folder, port, auth=(NAME, PASSWORD), mcp=True) as (page, _jobs, client):
        yield page, client


def routes_of(app, prefix: str = "") -> list[tuple[str, str]]:
    """Return every method and address that an application has, with those of what is mounted in it."""
    found = []
    for route in app.routes:
        path = prefix + getattr(route, "path", "")
        # What is included from another router has its own prefix in its paths already.
        included = getattr(route, "original_router", None)
        if included is not None:
            found += routes_of(included, prefix)
        elif getattr(route, "routes", None):
            found += routes_of(route, path)
        elif hasattr(route, "app") and not hasattr(route, "methods"):
            found += [
                ("GET", f"{path}/"),
                ("POST", f"{path}/"),
                ("GET", f"{path}/x"),
                ("POST", f"{path}/sse"),
            ]
        else:
            found += [(method, path) for method in sorted(getattr(route, "methods", None) or {"GET"})]
    filled = [(method, re.sub(r"\{(\w+)(?::\w+)?\}", _filled, path)) for method, path in found]
    return sorted(
        {*filled, ("GET", "/docs"), ("GET", "/redoc"), ("GET", "/openapi.json"), ("GET", "/monitoring")}
    )


def _filled(match: re.Match) -> str:
    return VALUES.get(match[1], "x")


def is_open(method: str, path: str) -> bool:
    known = find_route(path, method, has_mcp=True)
    return known is not None and known.is_open


def test_every_route_but_those_of_the_sign_in_page_asks_for_a_login(locked):
    page, client = locked
    client.cookies.clear()
    walked = routes_of(page.app)
    assert len(walked) > 60 and any("mcp" in path for _, path in walked)
    for method, path in walked:
        with client.stream(method, path, headers={"accept": "*/*"}) as answer:
            status = answer.status_code
        if not is_open(method, path):
            assert status in (401, 404, 405), (method, path, status)
    assert client.get("/config").status_code == 401
    assert client.post("/gradio_api/run/predict", json={"data": []}).status_code == 401
    assert client.get("/gradio_api/token").status_code == 404


def test_agents_without_a_login_get_no_tools(locked):
    _, client = locked
    client.cookies.clear()
    asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
    headers = {"accept": "application/json, text/event-stream"}
    answer = client.post("/gradio_api/mcp/", json=asked, headers=headers)
    assert answer.status_code == 401 and "Sign in" in answer.text


def test_a_login_opens_the_page_and_its_events(locked):
    _, client = locked
    client.cookies.clear()
    answer = client.post("/login", data={"username": NAME, "password": PASSWORD})
    assert answer.status_code == 200
    assert client.get("/config").status_code == 200
    for name in ("access-token-unsecure", "access-token"):
        forged = {key: "0" * 22 for key in client.cookies if key.startswith(name)}
        with httpx.Client(base_url=client.base_url, cookies=forged, trust_env=False) as stranger:
            assert stranger.get("/gradio_api/info").status_code == 401
    assert client.get("/gradio_api/info").status_code == 200
    client.cookies.clear()


def attempts(slow: SlowLogin, count: int, address: str = "203.0.113.7") -> list[int]:
    """Return the statuses of so many sign-ins at one moment."""

    async def one() -> int:
        sent = []

        async def send(message) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/login/", "method": "POST", "client": (address, 1), "headers": []}
        await slow(scope, None, send)
        return sent[0]["status"]

    async def several() -> list[int]:
        return await asyncio.gather(*(one() for _ in range(count)))

    # In a thread of its own: another test's browser may hold this one's loop.
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(lambda: asyncio.run(several())).result()


def test_wrong_passwords_are_looked_at_ever_more_slowly():
    now, right = [0.0], [False]

    async def application(_scope, _receive, send) -> None:
        # A password takes a moment to be compared; the others come meanwhile.
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200 if right[0] else 400, "headers": []})

    slow = SlowLogin(application, clock=lambda: now[0])
    assert attempts(slow, 10) == [400] * (FREE_TRIES + 1) + [429] * (9 - FREE_TRIES)
    assert attempts(slow, 1, "198.51.100.1") == [400]
    looked_at = 0
    for _ in range(120):
        now[0] += 10.0
        looked_at += attempts(slow, 1) == [400]
    assert looked_at <= 1200 / MOST_WAIT_SECONDS + 5
    now[0] += MOST_WAIT_SECONDS
    right[0] = True
    assert attempts(slow, 1) == [200]
    right[0] = False
    assert attempts(slow, 2) == [400, 400]


def test_an_address_of_the_sixth_version_counts_with_its_network():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") != network_of("2001:db8:0:1::1")
    assert network_of("testclient") == "testclient"
