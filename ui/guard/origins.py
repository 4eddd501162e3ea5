"""What another site's page makes a browser send is not taken; its own page's requests and programs' are."""

from __future__ import annotations

from urllib.parse import urlsplit

from ui.guard.asgi import Application, Message, Receive, Send, header, refuse
from ui.shared.strings import guard_strings

_READING = ("GET", "HEAD", "OPTIONS")
# What a browser says of a request that the page itself, or the person at it, has made.
_OWN = ("same-origin", "none")


def is_foreign(scope: Message) -> bool:
    """Return whether a browser says that another site's page asks.

    `Sec-Fetch-Site` (W3C Fetch Metadata) where the browser sends it, as proxies leave it alone; else `Origin`
    against the names that the request was sent to. A program sends neither.
    """
    site = header(scope, b"sec-fetch-site")
    if site:
        return site not in _OWN
    origin = header(scope, b"origin")
    if not origin:
        return any(key.lower() == b"origin" for key, _ in scope["headers"])
    try:
        name = urlsplit(origin).netloc.lower()
    except ValueError:
        return True
    own = (header(scope, b"host"), header(scope, b"x-forwarded-host"))
    return not name or name not in (host.lower() for host in own)


class OwnOrigin:
    """The application for what its own page or a program sends; whatever only reads is answered to all."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; one that another site's page sends is refused in a sentence."""
        if scope["type"] == "http" and scope["method"] not in _READING and is_foreign(scope):
            await refuse(send, 403, guard_strings.FOREIGN_ORIGIN)
            return
        await self._app(scope, receive, send)
