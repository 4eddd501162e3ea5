"""What every answer tells a browser that it may do with it."""

from __future__ import annotations

from ui.guard.asgi import Application, Message, Receive, Send, route_of
from ui.guard.files import FILES

# Hugging Face shows a Space's page in a frame of its own.
_FRAMES = "'self' https://huggingface.co https://*.huggingface.co"
# Gradio's page has scripts and styles in itself and compiles its templates.
PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        f"frame-ancestors {_FRAMES}",
    )
)
# A picture that is opened by itself needs nothing; a vector drawing may hold a script.
FILE_POLICY = (
    f"default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors {_FRAMES}; sandbox"
)
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
)


class SafeHeaders:
    """The application, whose answers say that nothing is to be guessed, sent on or run from elsewhere."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        policy = FILE_POLICY if route_of(scope).startswith(FILES) else PAGE_POLICY
        added = (*_ALWAYS, (b"content-security-policy", policy.encode()))
        names = {name for name, _ in added}

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name.lower() not in names]
                message = {**message, "headers": [*kept, *added]}
            await send(message)

        await self._app(scope, receive, tell)
