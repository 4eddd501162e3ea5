"""The page itself, compressed: half a megabyte of text would be most of what a first visit costs."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware

from ui.guard.asgi import Application, Message, Receive, Send, route_of

# Of zlib's 1 to 9: a few milliseconds on the event loop.
_LEVEL = 3


class PackedPage:
    """The application, with the page compressed for browsers that accept it; all else stays as it is."""

    def __init__(self, app: Application) -> None:
        self._app, self._packed = app, GZipMiddleware(app, compresslevel=_LEVEL)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_page = scope["type"] == "http" and scope["method"] == "GET" and route_of(scope) == "/"
        await (self._packed if is_page else self._app)(scope, receive, send)
