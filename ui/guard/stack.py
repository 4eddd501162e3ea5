"""The guards in the order in which a request passes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.middleware import Middleware

from ui.guard.blocks import Refusals
from ui.guard.bodies import BoundedBodies
from ui.guard.downloads import MadeFiles, MakesFiles
from ui.guard.files import PAGE, ServedFiles
from ui.guard.headers import SafeHeaders
from ui.guard.hosts import TrustedHosts
from ui.guard.login import SignedIn, SlowLogin
from ui.guard.origins import OwnOrigin
from ui.guard.packed import PackedPage
from ui.guard.reading import Readable
from ui.guard.routes import KnownRoutes
from ui.guard.streams import KnownStreams
from ui.shared.caching import KeptFiles


def guards(
    folder: Path,
    hosts: Sequence[str] = (),
    *,
    has_login: bool = False,
    has_mcp: bool = False,
    downloads: MakesFiles | None = None,
) -> list[Middleware]:
    """Return the guards of a page whose runs are in a folder; see `ui.page.launch_arguments`."""
    return [
        Middleware(PackedPage),
        Middleware(SafeHeaders),
        Middleware(TrustedHosts, hosts=tuple(hosts)),
        Middleware(OwnOrigin, hosts=tuple(hosts)),
        Middleware(KnownRoutes, has_mcp=has_mcp),
        Middleware(SignedIn, has_login=has_login, has_mcp=has_mcp),
        Middleware(SlowLogin),
        Middleware(BoundedBodies),
        Middleware(KnownStreams),
        Middleware(Readable),
        Middleware(Refusals),
        Middleware(KeptFiles, files=ServedFiles(runs=folder, page=PAGE)),
        Middleware(MadeFiles, runs=folder, downloads=downloads),
    ]
