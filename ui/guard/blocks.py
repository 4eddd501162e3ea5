"""Gradio's page with one entry for all its events: plain values come in, no file of others goes out."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gspn_core.errors import BadSetting, GspnError
from ui.guard.asgi import Application, Message, Receive, Send
from ui.guard.payload import check_plain, files_in
from ui.shared.gradio_private import sent_with
from ui.shared.strings import guard_strings

# The one function that takes a file that was sent before, and the one that hands a file out.
TAKES_FILE, GIVES_FILE = "picture", "fetch"
_REFUSALS = "gspn.refusals"


class GuardedBlocks(gr.Blocks):
    """A page whose events refuse in a sentence what no page sends; a handler's GspnError is one too."""

    async def process_api(
        self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any
    ) -> dict[str, Any]:
        """Run one event as Gradio does; raise gr.Error with a sentence for whatever is refused."""
        fn = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        try:
            if options.get("iterator") is None:
                self._check(fn, inputs, options.get("event_data"))
            return await super().process_api(fn, inputs, *args, **options)
        except GspnError as refusal:
            _note(options.get("request"))
            raise gr.Error(str(refusal), print_exception=False) from None
        except gr.Error as refusal:
            _note(options.get("request"))
            # Gradio refuses a path that was never uploaded itself: a sentence to the visitor, no traceback.
            refusal.print_exception = False
            raise

    def _check(self, fn: Any, inputs: Any, event: Any) -> None:
        if not isinstance(inputs, list) or len(inputs) < len(fn.inputs):
            raise BadSetting("payload", guard_strings.bad_payload(""))
        check_plain(inputs, may_hold_file=fn.api_name == TAKES_FILE)
        check_plain(sent_with(event))

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """Return an event's answer as Gradio makes it; raise BadSetting where it would hand out a file."""
        if block_fn.api_name != GIVES_FILE and files_in(predictions):
            raise BadSetting("payload", guard_strings.NO_FILES_HERE)
        return await super().postprocess_data(block_fn, predictions, state)


class Refusals:
    """The application, in which an event that was refused in a sentence is answered with 422, not 500."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        refused: list[bool] = []

        async def tell(message: Message) -> None:
            if refused and message["type"] == "http.response.start" and message["status"] == 500:
                message = {**message, "status": 422}
            await send(message)

        await self._app({**scope, _REFUSALS: refused} if scope["type"] == "http" else scope, receive, tell)


def _note(request: Any) -> None:
    scope = getattr(getattr(request, "request", None), "scope", None) or {}
    scope.get(_REFUSALS, []).append(True)
