"""Picture files as other tools write them, made here byte for byte."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import ExifTags, Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes, *, is_sound: bool = True) -> bytes:
    """Return a chunk of a PNG; one that is not sound has another sum."""
    total = zlib.crc32(kind + body) ^ (0 if is_sound else 1)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", total)


def text_chunk(kind: str, keyword: str, text: str | bytes, *, is_sound: bool = True) -> bytes:
    """Return a text chunk: tEXt, zTXt, iTXt, or iTXt+ for a packed one."""
    body = text.encode() if isinstance(text, str) else text
    start = keyword.encode() + b"\0"
    filled = {
        "tEXt": start + body,
        "zTXt": start + b"\0" + zlib.compress(body),
        "iTXt": start + b"\0\0en\0title\0" + body,
        "iTXt+": start + b"\1\0\0\0" + zlib.compress(body),
    }[kind]
    return chunk(kind[:4].encode(), filled, is_sound=is_sound)


def png(
    *before: bytes, after: tuple[bytes, ...] = (), width: int = 96, height: int = 64, ends: bool = True
) -> bytes:
    """Return a PNG of one colour with chunks before and after its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = (b"\0" + b"\x20\x80\x40" * width) * height
    packed = zlib.compress(rows)
    pixels = chunk(b"IDAT", packed[:20]) + chunk(b"IDAT", packed[20:])
    end = chunk(b"IEND", b"") if ends else b""
    return SIGNATURE + header + b"".join(before) + pixels + b"".join(after) + end


def with_exif(kind: str, comment: bytes | None = None, tags: dict[int, Any] | None = None) -> bytes:
    """Return a picture of a format with a UserComment and with other tags."""
    exif = Image.Exif()
    # Pillow writes no block of which the outer tags are empty.
    for tag, value in (tags or {ExifTags.Base.Artist: "A. Painter"}).items():
        exif[tag] = value
    if comment is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    stream = io.BytesIO()
    Image.new("RGB", (96, 64), (32, 128, 64)).save(stream, kind, exif=exif.tobytes())
    return stream.getvalue()


COMMENTS: dict[str, Callable[[str], bytes]] = {
    "unicode big": lambda text: b"UNICODE\0" + text.encode("utf-16-be"),
    "unicode little": lambda text: b"UNICODE\0" + text.encode("utf-16-le"),
    "unicode with mark": lambda text: b"UNICODE\0" + text.encode("utf-16"),
    "unicode of utf-8": lambda text: b"UNICODE\0" + text.encode(),
    "ascii": lambda text: b"ASCII\0\0\0" + text.encode(),
    "no prefix": lambda text: text.encode(),
    "zeros": lambda text: bytes(8) + text.encode(),
    "zeros at the end": lambda text: b"UNICODE\0" + text.encode("utf-16-be") + bytes(6),
}
