"""Browser contexts that tests take one after another, so that each page need not be compiled anew.

A context keeps what it has loaded of a server's files; a page in one that has been used opens for less than
half of the processor's time. What a visitor leaves behind is removed in between.
"""

from __future__ import annotations

import json
from typing import Any

# All that Chromium's DevTools protocol names but the files of the server (https://chromedevtools.github.io/).
LEFT_BEHIND = "cookies,file_systems,indexeddb,local_storage,service_workers,cache_storage"


class Contexts:
    """The contexts of a browser, each of one visitor at a time.

    Args:
        browser: Playwright's.
        origin: of the server whose pages they open.
    """

    def __init__(self, browser: Any, origin: str) -> None:
        self._browser, self._origin = browser, origin
        self._free: dict[str, list[Any]] = {}
        self._taken: list[tuple[str, Any]] = []

    def take(self, width: int, height: int, **options: Any) -> tuple[Any, Any]:
        """Return a context of a new visitor and its page of width × height px.

        Args:
            width: of the page; likewise height.
            options: of Playwright's `new_context`.
        """
        key = json.dumps(options, sort_keys=True)
        free = self._free.setdefault(key, [])
        context = free.pop() if free else self._browser.new_context(**options)
        self._taken.append((key, context))
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        return context, page

    def give_back(self, context: Any) -> None:
        """Close a visitor's pages and forget the visitor."""
        (key,) = (key for key, one in self._taken if one is context)
        self._taken.remove((key, context))
        for page in context.pages:
            page.close()
        context.clear_permissions()
        page = context.new_page()
        asked = {"origin": self._origin, "storageTypes": LEFT_BEHIND}
        context.new_cdp_session(page).send("Storage.clearDataForOrigin", asked)
        page.close()
        self._free[key].append(context)

    def close(self) -> None:
        """Close all contexts."""
        for contexts in [*self._free.values(), [context for _, context in self._taken]]:
            for context in contexts:
                context.close()
