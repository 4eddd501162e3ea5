"""Signing in: every route but those of the sign-in page asks for it, and wrong passwords are slowed."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from ui.guard.asgi import Application, Message, Receive, Send, header, refuse, route_of
from ui.guard.routes import find_route
from ui.shared.strings import guard_strings

LEAST_WAIT_SECONDS, MOST_WAIT_SECONDS = 1.0, 60.0
# The first wrong passwords cost nothing: people mistype.
FREE_TRIES = 3
_MOST_ADDRESSES = 4096


class SignedIn:
    """The application for visitors that have signed in; without a password everybody has."""

    def __init__(self, app: Application, *, has_login: bool, has_mcp: bool = False) -> None:
        self._app = app
        self._has_login = has_login
        self._has_mcp = has_mcp

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; one that needs a sign-in and has none is refused in a sentence."""
        if self._has_login and scope["type"] == "http" and not self._may_pass(scope):
            await refuse(send, 401, guard_strings.SIGN_IN_FIRST)
            return
        await self._app(scope, receive, send)

    def _may_pass(self, scope: Message) -> bool:
        route = find_route(route_of(scope), scope["method"], has_mcp=self._has_mcp)
        return (route is not None and route.is_open) or is_signed_in(scope)


def is_signed_in(scope: Message) -> bool:
    """Tell whether a request's cookies hold a token that Gradio gave out for the right password."""
    app = scope["app"]
    try:
        cookies = SimpleCookie(header(scope, b"cookie"))
    except CookieError:
        return False
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(name in cookies and cookies[name].value in app.tokens for name in names)


class SlowLogin:
    """The application, where an address waits after wrong passwords, twice as long after each."""

    def __init__(self, app: Application, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        # Wrong passwords of each address, and until when it waits.
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; a password that comes too soon is not looked at."""
        if scope["type"] != "http" or route_of(scope).rstrip("/") != "/login":
            await self._app(scope, receive, send)
            return
        address = network_of((scope.get("client") or ("", 0))[0])
        wrong, until = self._tries.get(address, (0, 0.0))
        wait = until - self._clock()
        if wait > 0:
            seconds = int(wait) + 1
            retry = (b"retry-after", str(seconds).encode())
            await refuse(send, 429, guard_strings.wait_to_sign_in(seconds), (retry,))
            return
        # Counted as wrong before it is known, or tries at one moment would all be looked at.
        self._count(address, wrong + 1)

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self._tries.pop(address, None)
            await send(message)

        await self._app(scope, receive, tell)

    def _count(self, address: str, wrong: int) -> None:
        doubled = LEAST_WAIT_SECONDS * 2.0 ** min(wrong - FREE_TRIES - 1, 16)
        wait = min(doubled, MOST_WAIT_SECONDS) if wrong > FREE_TRIES else 0.0
        self._tries[address] = (wrong, self._clock() + wait)
        self._tries.move_to_end(address)
        while len(self._tries) > _MOST_ADDRESSES:
            self._tries.popitem(last=False)


def network_of(address: str) -> str:
    """Return what counts as one visitor: an IPv4 address, the first half of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))
