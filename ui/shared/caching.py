"""What a browser may keep: the files of a run never change, and the page's own tell their version.

Gradio serves files without a word on that, and sends them whole however often they are asked for.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from ui.guard.asgi import Application, Message, Receive, Send, refuse, route_of
from ui.guard.files import FILES, ServedFiles
from ui.shared.strings import guard_strings

_PICTURES = (".jpg", ".png", ".webp", ".jpeg")
# Kept by the visitor's own browser alone: a run can be looked at by whoever has its link, and by no one else.
_KEEP = b"private, max-age=31536000, immutable"


class KeptFiles:
    """The application, which serves its own files alone, with leave to keep what never changes."""

    def __init__(self, app: Application, files: ServedFiles) -> None:
        self._app = app
        self._files = files

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; records are not served, though they are in the pictures' folders."""
        if scope["type"] != "http" or not route_of(scope).startswith(FILES):
            await self._app(scope, receive, send)
            return
        if self._files.find(route_of(scope)) is None:
            await refuse(send, 404, guard_strings.NO_ROUTE)
            return

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 206):
                message = {**message, "headers": [*message["headers"], (b"cache-control", _KEEP)]}
            await send(message)

        await self._app(scope, receive, tell if _lasts(scope) else send)


def _lasts(scope: Message) -> bool:
    return scope["path"].endswith(_PICTURES) or b"v" in parse_qs(scope["query_string"])
