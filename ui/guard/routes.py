"""The routes that the page and its programs use, each spelled in one way; nothing else is served."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ui.guard.asgi import Application, Message, Receive, Send, refuse, route_of
from ui.shared.strings import guard_strings

_NAME = r"[A-Za-z0-9_.-]{1,128}"
_ASSET = rf"{_NAME}(?:/{_NAME})*"


@dataclass(frozen=True, kw_only=True)
class Route:
    """Addresses of one kind. is_open: answered without signing in, or Gradio itself asks for it there."""

    path: str
    methods: tuple[str, ...] = ("GET", "HEAD")
    is_open: bool = False


ROUTES: tuple[Route, ...] = (
    Route(path=r"/?", is_open=True),
    Route(path=rf"/(?:assets|static|svelte)/{_ASSET}", is_open=True),
    Route(path=r"(?:/gradio_api)?/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json", is_open=True),
    Route(path=r"/gradio_api/(?:login_check|startup-events|app_id|user)/?", is_open=True),
    Route(path=r"/config/?", is_open=True),
    Route(path=r"/login/?", methods=("POST",), is_open=True),
    Route(path=r"/logout", is_open=True),
    Route(path=r"/gradio_api/file=/.+"),
    Route(path=r"/gradio_api/(?:info/?|openapi\.json|queue/data|queue/status|upload_progress)"),
    Route(path=rf"/gradio_api/heartbeat/{_NAME}"),
    Route(path=rf"/gradio_api/call/{_NAME}/{_NAME}"),
    Route(path=rf"/gradio_api/(?:run|api|call|call/v2)/{_NAME}/?", methods=("POST",)),
    Route(path=r"/gradio_api/(?:queue/join|cancel|reset/?|upload)", methods=("POST",)),
)
MCP = Route(path=rf"/gradio_api/mcp(?:/(?:{_ASSET}/?)?)?", methods=("GET", "HEAD", "POST", "DELETE"))


def find_route(route: str, method: str, *, has_mcp: bool = False) -> Route | None:
    """Return the route of a request, None where nothing is served; a dot segment leads nowhere."""
    if any(part in (".", "..") for part in route.split("/")):
        return None
    known = (*ROUTES, MCP) if has_mcp else ROUTES
    return next(
        (one for one in known if method in one.methods and re.fullmatch(one.path, route, re.DOTALL)), None
    )


class KnownRoutes:
    """The application for the routes that it is known by; everything else is not there."""

    def __init__(self, app: Application, *, has_mcp: bool = False) -> None:
        self._app = app
        self._has_mcp = has_mcp

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif find_route(route_of(scope), scope["method"], has_mcp=self._has_mcp) is None:
            await refuse(send, 404, guard_strings.NO_ROUTE)
        else:
            await self._app(scope, receive, send)
