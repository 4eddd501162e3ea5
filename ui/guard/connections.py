"""Connections that send nothing, take nothing, or are too many of one address: closed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from ui.guard.login import network_of

# Until the headers of a connection's first request are there, and between its requests.
HEADER_SECONDS = 20.0
# Each open page holds two or three, and the visitors behind a proxy share its address.
MOST_OF_ONE_ADDRESS = 512
# Until a visitor has taken what is ready of an answer, some hundred KiB.
TAKE_SECONDS = 20.0
# In a request's state: what drops its connection at once, as an answer that was cut short must not end well.
DROP = "gspn.drop"


def guard_connections(
    server: Any,
    *,
    seconds: float = HEADER_SECONDS,
    most: int = MOST_OF_ONE_ADDRESS,
    take_seconds: float = TAKE_SECONDS,
) -> None:
    """Let a running uvicorn server close idle, stalled and, beyond `most` of an address, new connections."""
    config = server.config
    config.http_protocol_class = _guarded(config.http_protocol_class, seconds, most, take_seconds)


def _guarded(base: type, seconds: float, most: int, take_seconds: float) -> type:
    """Return a protocol like uvicorn's that looks every few seconds whether a request goes on."""
    open_of: Counter[str] = Counter()

    class Guarded(base):
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            peer = transport.get_extra_info("peername")
            self._address = network_of(str(peer[0])) if peer else ""
            open_of[self._address] += 1
            self._deadline = self.loop.call_later(seconds, self._look)
            self._idle_since = self.loop.time()
            self._stalled: asyncio.TimerHandle | None = None
            self.app_state = {**self.app_state, DROP: transport.abort}
            if open_of[self._address] > most:
                transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._deadline.cancel()
            self._take()
            open_of[self._address] -= 1
            if not open_of[self._address]:
                del open_of[self._address]
            super().connection_lost(exc)

        def _look(self) -> None:
            cycle = self.cycle
            left = seconds
            if cycle is None or cycle.response_complete:
                left -= self.loop.time() - self._idle_since
            if left <= 0:
                self.transport.close()
                # What is left of the last answer has to be taken, too.
                self._deadline = self.loop.call_later(take_seconds, self.transport.abort)
            else:
                self._deadline = self.loop.call_later(left, self._look)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._idle_since = self.loop.time()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._take()
            self._stalled = self.loop.call_later(take_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._take()
            super().resume_writing()

        def _take(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

    return Guarded
