"""Answers of events are streamed to the client that began them; under another name nothing is streamed.

Gradio begins such a stream and raises in the midst of it, with a traceback in the log.
"""

from __future__ import annotations

import re

from ui.guard.asgi import Application, Message, Receive, Send, refuse, route_of
from ui.shared.gradio_private import has_stream
from ui.shared.strings import guard_strings

_OF_AN_EVENT = re.compile(r"/gradio_api/call/[^/]+/(?P<event>[^/]+)")


class KnownStreams:
    """The application for streams of events that there are."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; 404 and a sentence where there is nothing to wait for."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        event = _OF_AN_EVENT.fullmatch(route_of(scope))
        if event and not has_stream(scope["app"].get_blocks(), event=event["event"]):
            await refuse(send, 404, guard_strings.NO_STREAM)
        else:
            await self._app(scope, receive, send)
