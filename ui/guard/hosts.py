"""Only the names under which the page is served are answered: a stranger's cannot be bound to it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ui.guard.asgi import Application, Message, Receive, Send, header, refuse
from ui.shared.strings import guard_strings

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(?::[0-9]{1,5})?", re.IGNORECASE)


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach a server that listens on an address."""
    return address in (*LOOPBACK, "::1") or re.fullmatch(r"127(?:\.[0-9]{1,3}){3}", address) is not None


def allowed_hosts(address: str, given: Sequence[str], *, is_public: bool) -> tuple[str, ...]:
    """Return the host names to answer, none for all.

    Args:
        address: What the server listens on.
        given: The names that were allowed on the command line; they come in addition to this machine's own.
        is_public: The page has a public address as well, whose name is not known before it is served.
    """
    if given:
        return (*LOOPBACK, *(name.lower() for name in given))
    if is_public or not is_loopback(address):
        return ()
    return (*LOOPBACK, address.lower())


class TrustedHosts:
    """The application for requests to one of its own host names, whatever the port; none given: for all."""

    def __init__(self, app: Application, hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; one to a foreign name is refused in a sentence."""
        if scope["type"] in ("http", "websocket") and self._hosts:
            match = _HOST.fullmatch(header(scope, b"host"))
            if match is None or match[1].lower() not in self._hosts:
                await refuse(send, 421, guard_strings.foreign_host(match[1] if match else ""))
                return
        await self._app(scope, receive, send)
