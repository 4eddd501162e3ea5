"""What a browser may keep: the files of a run never change, and the page's own tell their version.

Gradio serves files without a word on that, and sends them whole however often they are asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_FILES = "/gradio_api/file="
_PICTURES = (".jpg", ".png")
# What lies in the folders of runs for others to see, and what the page itself is made of.
_SERVED = (*_PICTURES, ".webp", ".zip", ".js", ".css", ".svg")
# Kept by the visitor's own browser alone: a run can be looked at by whoever has its link, and by nobody else.
_KEEP = b"private, max-age=31536000, immutable"


class KeptFiles:
    """The application, with leave to keep the pictures of runs and whatever is asked for with a version."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; records are not served, though they lie beside the pictures."""
        if _is_private(scope):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 206):
                message = {**message, "headers": [*message["headers"], (b"cache-control", _KEEP)]}
            await send(message)

        await self._app(scope, receive, tell if _lasts(scope) else send)


def _is_private(scope: Message) -> bool:
    """Tell whether a file is a record: a run's notes are its owner's, whoever has the run's link."""
    return scope["type"] == "http" and _FILES in scope["path"] and not scope["path"].endswith(_SERVED)


def _lasts(scope: Message) -> bool:
    if scope["type"] != "http" or _FILES not in scope["path"]:
        return False
    return scope["path"].endswith(_PICTURES) or b"v" in parse_qs(scope["query_string"])
