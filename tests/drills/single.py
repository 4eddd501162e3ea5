"""Single requests as heavy as the bounds let them be, while another visitor asks for something small."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from gspn_core.images.load import MAX_FILE_PIXELS
from tests.drills.figures import Figure
from tests.drills.server import JSON, STALLS, VISITOR, Address, serving_apart
from tests.drills.stalls import wait_figures
from tests.drills.visitor import another_visitor
from ui.guard.bodies import MAX_BODY_BYTES, MAX_SEPARATORS

ANSWER_SECONDS = 10.0


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Send each heavy request `count` times in all, one after another."""
    taken: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory(prefix="gspn-single-") as folder,
        serving_apart(Path(folder)) as (address, _process, log),
    ):
        requests = dict(heavy(address))
        with another_visitor(address.port) as waits:
            for done, (name, send) in enumerate(list(requests.items()) * max(1, count // len(requests))):
                began = time.perf_counter()
                status = send().status_code
                taken[name] = max(taken.get(name, 0.0), time.perf_counter() - began)
                if status >= 500:
                    taken[name] = float("inf")
                tell(done + 1)
        waited = wait_figures(waits, Path(folder) / STALLS)
        said = log.read_text("utf-8", "replace")
    slowest = max(taken, key=lambda name: taken[name])
    return [
        Figure(
            what=f"slowest of {len(taken)} kinds, {slowest}",
            value=taken[slowest],
            bound=ANSWER_SECONDS,
            unit="s",
        ),
        *waited,
        Figure(what="tracebacks in the log", value=said.count("Traceback"), bound=0, seen=said[-600:]),
    ]


def heavy(address: Address) -> Iterator[tuple[str, Callable[[], httpx.Response]]]:
    """Yield the requests by name."""
    run = address.event("run")
    for size in (16, 32, 96):
        arguments = address.arguments("run", prompt="a toy", overrides="\\" * size * 1024 + '"')
        yield f"{size} KiB of escaped quotes as overrides", lambda data=arguments: address.ask(run, data)
    price = address.event("price")
    values = [VISITOR if value is None else value for value in address.values(price)]
    for text in ("9" * 10_000, "9-" * 5_000, "1e" * 5_000, "," * 10_000):
        axes = {"axes": [{"name": "guidance_scale", "text": text, "stage": None}]}
        yield f"axis {text[:4]}…", lambda sent=axes: address.ask(price, values, sent)
    keys = json.dumps({f"{i}": i for i in range(MAX_SEPARATORS - 1)}).encode()
    yield "body of keys", lambda: post(address, keys)
    yield "body of brackets", lambda: post(address, b"[" * (MAX_BODY_BYTES - 1))
    yield (
        "body of escapes",
        lambda: post(address, b'{"data": ["' + b"\\u0041" * (MAX_BODY_BYTES // 6 - 9) + b'"]}'),
    )
    yield "body of digits", lambda: post(address, b'{"data": [' + b"9" * 4000 + b"]}")
    text = {"note": "x" * (MAX_BODY_BYTES - 2000)}
    yield "a long note", lambda: address.ask(address.event("annotate"), [VISITOR], text)
    for name, png in (("3,561 texts", texts(3561)), ("pixels", pixels())):
        yield f"picture of {name}", lambda png=png: upload(address, png)
    head = {"head": b64encode(texts(3561)[: 2**20]).decode(), "name": "a.png"}
    reading = address.event("read")
    held = [VISITOR if value is None else value for value in address.values(reading)]
    yield "head of 3,561 texts", lambda: address.ask(reading, held, head)


def post(address: Address, body: bytes) -> httpx.Response:
    """Send a body to an event."""
    return address.client.post("/gradio_api/run/predict", content=body, headers=JSON)


def upload(address: Address, picture: bytes) -> httpx.Response:
    """Upload a picture and let the API keep it to start from."""
    sent = address.client.post("/gradio_api/upload", files={"files": ("a.png", picture, "image/png")})
    if sent.status_code != 200:
        return sent
    file: dict[str, Any] = {
        "path": sent.json()[0],
        "orig_name": "a.png",
        "meta": {"_type": "gradio.FileData"},
    }
    return address.ask(address.event("picture"), [file])


def texts(count: int) -> bytes:
    """Return a PNG with so many compressed texts before its pixels."""
    plain = io.BytesIO()
    Image.new("RGB", (64, 64)).save(plain, "PNG")
    data = zlib.compress(b"x" * 60_000)
    chunk = b"zTXt" + b"parameters\0\0" + data
    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    head = plain.getvalue()
    return head[:33] + whole * count + head[33:]


def pixels() -> bytes:
    """Return a PNG of as many pixels as are taken."""
    side = int(MAX_FILE_PIXELS**0.5)
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "PNG")
    return file.getvalue()
