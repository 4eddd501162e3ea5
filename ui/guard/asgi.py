"""The names of an ASGI application's parts, and a plain answer in one sentence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette._utils import get_route_path

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def route_of(scope: Message) -> str:
    """Return the path that the router sees: without the prefix under which the page is served."""
    return get_route_path(scope)


def header(scope: Message, name: bytes) -> str:
    """Return a request's header, "" for none; a header given twice is as good as a wrong one."""
    values = [value for key, value in scope["headers"] if key.lower() == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


Headers = tuple[tuple[bytes, bytes], ...]


async def refuse(send: Send, status: int, sentence: str, headers: Headers = ()) -> None:
    """Answer a request with a status and one sentence."""
    body = sentence.encode()
    sent = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
