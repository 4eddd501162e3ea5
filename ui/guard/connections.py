"""Connections that send nothing, or too many of one address: closed before they cost a request."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from ui.guard.login import network_of

# Until the headers of a connection's first request are there, and between its requests.
HEADER_SECONDS = 20.0
# Each open page holds two or three, and the visitors behind a proxy share its address.
MOST_OF_ONE_ADDRESS = 512


def guard_connections(
    server: Any, *, seconds: float = HEADER_SECONDS, most: int = MOST_OF_ONE_ADDRESS
) -> None:
    """Let a running uvicorn server close idle connections, and those of an address beyond `most`."""
    config = server.config
    config.http_protocol_class = _guarded(config.http_protocol_class, seconds, most)


def _guarded(base: type, seconds: float, most: int) -> type:
    """Return a protocol like uvicorn's that looks every few seconds whether a request goes on."""
    open_of: Counter[str] = Counter()

    class Guarded(base):
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            peer = transport.get_extra_info("peername")
            self._address = network_of(str(peer[0])) if peer else ""
            open_of[self._address] += 1
            self._deadline = self.loop.call_later(seconds, self._look)
            if open_of[self._address] > most:
                transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._deadline.cancel()
            open_of[self._address] -= 1
            if not open_of[self._address]:
                del open_of[self._address]
            super().connection_lost(exc)

        def _look(self) -> None:
            cycle = self.cycle
            if cycle is None or cycle.response_complete:
                self.transport.close()
            else:
                self._deadline = self.loop.call_later(seconds, self._look)

    return Guarded
