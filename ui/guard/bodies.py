"""How much a request may send, and how slowly."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from gspn_core.images.load import MAX_FILE_BYTES
from ui.guard.asgi import Application, Message, Receive, Send, header, refuse, route_of
from ui.shared.strings import guard_strings

# The largest thing that a page sends by itself is the head of a picture, a mebibyte in base64.
MAX_BODY_BYTES = 2 * 1024 * 1024
# Values of a JSON body are parted by these; the page sends some thousand at most.
MAX_SEPARATORS = 50_000
# What a form's own lines take around an uploaded file.
_FORM_BYTES = 64 * 1024
UPLOAD = "/gradio_api/upload"
PIECE_SECONDS = 20.0
# A body as a whole may take this long, and longer by what it weighs at a slow line's rate.
BODY_SECONDS = 30.0
SLOW_BYTES_A_SECOND = 32 * 1024


class TooLarge(Exception):
    """A body that grew beyond what it may weigh."""


class TooSlow(Exception):
    """A body of which too little came."""


class BoundedBodies:
    """The application, which is given only bodies that are small enough and come soon enough."""

    def __init__(
        self,
        app: Application,
        *,
        most_bytes: int = MAX_BODY_BYTES,
        most_upload_bytes: int = MAX_FILE_BYTES + _FORM_BYTES,
        piece_seconds: float = PIECE_SECONDS,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._most = {True: most_upload_bytes, False: most_bytes}
        self._piece_seconds, self._body_seconds = piece_seconds, body_seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request: 413 for a body that is too large, 408 for one that comes too slowly."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._most[route_of(scope).startswith(UPLOAD)]
        length = header(scope, b"content-length")
        if length.isdigit() and (len(length) > 15 or int(length) > most):
            await refuse(send, 413, guard_strings.body_too_large(most), ((b"connection", b"close"),))
            return
        answered = False

        is_upload = route_of(scope).startswith(UPLOAD)
        body = _Body(receive, most, self._piece_seconds, self._body_seconds, is_json=not is_upload)
        # A request without a body waits for nothing but the visitor's leaving.
        body.is_whole = not (header(scope, b"transfer-encoding") or length.strip("0"))

        async def tell(message: Message) -> None:
            nonlocal answered
            # What the application makes of half a body is not the answer.
            if answered or not body.refused:
                answered = True
                await send(message)

        with suppress(TooLarge, TooSlow):
            await self._app(scope, body.receive, tell)
        if body.refused and not answered:
            sentence = (
                guard_strings.body_too_large(most) if body.refused == 413 else guard_strings.BODY_TOO_SLOW
            )
            await refuse(send, body.refused, sentence, ((b"connection", b"close"),))


class _Body:
    """A request's body as it comes. refused: the status with which it was given up, 0 for none."""

    def __init__(
        self, receive: Receive, most: int, piece_seconds: float, body_seconds: float, *, is_json: bool
    ) -> None:
        self._receive = receive
        self._separators = 0 if is_json else None
        self._most, self._piece_seconds, self._body_seconds = most, piece_seconds, body_seconds
        self._began: float | None = None
        self._count = 0
        self.is_whole = False
        self.refused = 0

    async def receive(self) -> Message:
        """Return the next piece, after the last one that the visitor left; raise TooLarge or TooSlow."""
        if self.is_whole:
            return await self._receive()
        self._began = time.monotonic() if self._began is None else self._began
        left = self._began + self._body_seconds + self._count / SLOW_BYTES_A_SECOND - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(self._piece_seconds, left)))
        except asyncio.TimeoutError:
            self.refused = 408
            raise TooSlow from None
        self._count += len(message.get("body", b""))
        if self._separators is not None:
            self._separators += message.get("body", b"").count(b",")
        if self._count > self._most or (self._separators or 0) > MAX_SEPARATORS:
            self.refused = 413
            raise TooLarge
        self.is_whole = not message.get("more_body", False)
        return message
