"""A request that Gradio cannot read is refused in a sentence; Gradio lets its own errors through as faults.

No handler of the page runs where these are raised: an error of a handler is answered by Gradio itself.
"""

from __future__ import annotations

import logging
import re

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from ui.guard.asgi import Application, Message, Receive, Send, refuse, route_of
from ui.shared.strings import guard_strings

_READ_BY_GRADIO = re.compile(r"/gradio_api/(?:run|api|call|queue|cancel|reset|upload)(?:/.*)?", re.DOTALL)
_MISSING = re.compile(r".*argument: (\w{1,40})")
_log = logging.getLogger(__name__)


async def refuse_unread(_request: Request, _error: Exception) -> JSONResponse:
    """Answer what FastAPI found not to be of its types; it would send all of it back, 0.3 s of work."""
    return JSONResponse({"detail": guard_strings.cannot_read("")}, status_code=422)


# For `launch`: answers by the type of the error.
HANDLERS = {RequestValidationError: refuse_unread}


class Readable:
    """The application, in which what raises while a request is read is answered with 422, not 500."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        is_answered = False

        async def tell(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except (OSError, MemoryError):
            # Not the request's fault.
            raise
        except Exception as error:
            if is_answered or not _READ_BY_GRADIO.fullmatch(route_of(scope)):
                raise
            _log.warning("%s: %s", route_of(scope)[:60], type(error).__name__)
            missing = _MISSING.fullmatch(str(error))
            await refuse(send, 422, guard_strings.cannot_read(missing[1] if missing else ""))
