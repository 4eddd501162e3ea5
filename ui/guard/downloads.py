"""Files of runs that are written when they are asked for: only what `ui.guard.files` names comes this far."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from starlette.responses import StreamingResponse

from gspn_core.errors import GspnError
from gspn_core.runs.downloads import FILM, ZIP
from ui.guard.asgi import Application, Message, Receive, Send, refuse, route_of
from ui.guard.bodies import BODY_SECONDS, SLOW_BYTES_A_SECOND
from ui.guard.connections import DROP
from ui.guard.files import FILES
from ui.guard.login import network_of
from ui.shared.strings import guard_strings

_MADE = re.compile(rf".*/(?P<job>[A-Za-z0-9_-]{{16,64}})/(?P<name>[^/]+\.(?:webp|jpeg)|{re.escape(ZIP)})")
_NAME = re.compile(rf"{re.escape(FILM)}|{re.escape(ZIP)}|stage-.*")
# One is written at a time; of those that wait, this many.
MOST_FILES_TO_WRITE = 8
# Zips that are read at once, by all and by one address.
MOST_ZIPS, MOST_ZIPS_EACH = 8, 4


class MakesFiles(Protocol):
    """What writes the files: `gspn_core.runs.downloads.Downloads`."""

    make: Callable[[str, str], Path]
    zip_of: Callable[[str], Iterator[bytes]]


class MadeFiles:
    """The application, with files of runs that it finds written because they were asked for here."""

    def __init__(self, app: Application, runs: Path, downloads: MakesFiles | None) -> None:
        self._app = app
        self._runs = str(runs)
        self._downloads = downloads
        self._writing = asyncio.Semaphore(1)
        self._waiting = 0
        self._zips: Counter[str] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request: 404 where there is no such file, 503 while too many are asked for."""
        asked = self._asked(scope)
        if asked is None or self._downloads is None:
            await self._app(scope, receive, send)
        elif asked["name"] == ZIP:
            await self._send_zip(asked["job"], scope, receive, send)
        elif self._waiting >= MOST_FILES_TO_WRITE:
            await refuse(send, 503, guard_strings.TOO_MANY_DOWNLOADS)
        else:
            await self._send_file(asked, scope, receive, send)

    def _asked(self, scope: Message) -> re.Match[str] | None:
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        route = route_of(scope)
        asked = _MADE.fullmatch(route) if route.startswith(f"{FILES}{self._runs}/") else None
        return asked if asked and _NAME.fullmatch(asked["name"]) else None

    async def _send_file(self, asked: Any, scope: Message, receive: Receive, send: Send) -> None:
        self._waiting += 1
        try:
            async with self._writing:
                await asyncio.to_thread(self._downloads.make, asked["job"], asked["name"])
        except GspnError as refusal:
            await refuse(send, 404, str(refusal))
            return
        finally:
            self._waiting -= 1
        await self._app(scope, receive, send)

    async def _send_zip(self, job: str, scope: Message, receive: Receive, send: Send) -> None:
        address = network_of((scope.get("client") or ("", 0))[0])
        if self._zips.total() >= MOST_ZIPS or self._zips[address] >= MOST_ZIPS_EACH:
            await refuse(send, 503, guard_strings.TOO_MANY_DOWNLOADS)
            return
        self._zips[address] += 1
        try:
            chunks = await asyncio.to_thread(self._downloads.zip_of, job)
            headers = {"content-disposition": f'attachment; filename="gspn-{job[:8]}.zip"'}
            drop = scope.get("state", {}).get(DROP)
            response = StreamingResponse(_read(chunks, drop), media_type="application/zip", headers=headers)
            await response(scope, receive, send)
        except GspnError as refusal:
            await refuse(send, 404, str(refusal))
        finally:
            self._zips[address] -= 1
            self._zips += Counter()


async def _read(chunks: Iterator[bytes], drop: Callable[[], None] | None) -> AsyncIterator[bytes]:
    """Yield the chunks while they are taken as fast as a body has to come; else drop the connection."""
    began, count = time.monotonic(), 0
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk
        count += len(chunk)
        if drop and time.monotonic() - began > BODY_SECONDS + count / SLOW_BYTES_A_SECOND:
            drop()
            return
