"""What another site's page makes a browser send is not taken; its own page's requests and programs' are."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from ui.guard.asgi import Application, Message, Receive, Send, header, refuse
from ui.guard.hosts import LOOPBACK
from ui.shared.strings import guard_strings

_READING = ("GET", "HEAD", "OPTIONS")
# What a browser says of a request that the page itself, or the person at it, has made.
_OWN = ("same-origin", "none")


def is_foreign(scope: Message, hosts: Collection[str] = ()) -> bool:
    """Return whether a browser says that another site's page asks.

    `Sec-Fetch-Site` (W3C Fetch Metadata) where the browser sends it, as proxies leave it alone; else `Origin`
    against the name that the request was sent to and `hosts`, the names that the page is served under. A
    program sends neither. What a proxy adds is not read: a script could send it, too.
    """
    site = header(scope, b"sec-fetch-site")
    if site:
        return site not in _OWN
    origin = header(scope, b"origin")
    if not origin:
        return any(key.lower() == b"origin" for key, _ in scope["headers"])
    try:
        asking, own = urlsplit(origin), urlsplit(f"//{header(scope, b'host')}")
        asking_port, own_port = _port(asking), _port(own)
    except ValueError:
        return True
    if not asking.hostname:
        return True
    if asking.hostname in hosts and asking.hostname not in LOOPBACK:
        return False
    # A proxy may pass the name on without its port.
    ports_differ = None not in (asking_port, own_port) and asking_port != own_port
    return asking.hostname != own.hostname or ports_differ


def _port(address: SplitResult) -> int | None:
    return None if address.port in (80, 443) else address.port


class OwnOrigin:
    """The application for what its own page or a program sends; whatever only reads is answered to all."""

    def __init__(self, app: Application, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; one that another site's page sends is refused in a sentence."""
        if scope["type"] == "http" and scope["method"] not in _READING and is_foreign(scope, self._hosts):
            await refuse(send, 403, guard_strings.FOREIGN_ORIGIN)
            return
        await self._app(scope, receive, send)
