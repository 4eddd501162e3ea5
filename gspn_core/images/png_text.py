"""The text chunks of a PNG, read without decoding pixels and without trusting the file."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

from gspn_core.errors import BadSetting
from gspn_core.images.png import FORMAT

MAX_TEXT_BYTES = 256 * 1024
MAX_PIXELS = 2 * 16384**2
MAX_CHUNKS = 4096
_KEYWORDS = (b"parameters", b"gspn_studio")
_LONGEST_KEYWORD = 79
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_png(path: Path) -> dict[str, Any]:
    """Return width, height, parameters (text or None) and gspn_studio (info or None) of a PNG.

    Raises:
        BadSetting: not a PNG, damaged, or with more pixels or text than a picture of this project can have.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as stream:
        return _read(stream, path.name)


def read_png_head(head: bytes, name: str) -> dict[str, Any]:
    """Do the same as `read_png` for a file's first bytes, up to its pixels; name is for messages."""
    return _read(io.BytesIO(head), name)


def _read(stream: BinaryIO, name: str) -> dict[str, Any]:
    if stream.read(len(_SIGNATURE)) != _SIGNATURE:
        raise BadSetting("picture", f"{name} is not a PNG; choose a PNG that this studio wrote.")
    kind, body = _chunk(stream, name)
    if kind != b"IHDR" or len(body) != 13:
        raise _damaged(name)
    width, height = struct.unpack(">II", body[:8])
    if not 0 < width * height <= MAX_PIXELS:
        raise BadSetting(
            "picture", f"{name} claims {width}×{height} px, {MAX_PIXELS:,} in all may be read; try another."
        )
    texts = _texts(stream, name)
    return {
        "width": width,
        "height": height,
        "parameters": texts.get("parameters"),
        "gspn_studio": _info(texts["gspn_studio"], name) if "gspn_studio" in texts else None,
    }


def _info(text: str, name: str) -> dict[str, Any]:
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(name) from None
    if not isinstance(info, dict) or not isinstance(info.get("settings"), dict):
        raise _damaged(name)
    if info.get("format") != FORMAT:
        shown = str(info.get("format"))[:20]
        raise BadSetting(
            "picture", f"{name} has text of format {shown}, this studio reads {FORMAT}; update it."
        )
    return info


def _texts(stream: BinaryIO, name: str) -> dict[str, str]:
    """Return the known text chunks before the first pixels."""
    texts: dict[str, str] = {}
    for _ in range(MAX_CHUNKS):
        kind, body = _chunk(stream, name, known=texts)
        if kind in (b"IDAT", b"IEND"):
            return texts
        if kind in (b"tEXt", b"iTXt", b"zTXt") and body:
            key, text = _text(kind, body, name)
            texts[key] = text
    raise _damaged(name)


def _chunk(stream: BinaryIO, name: str, known: Collection[str] = ()) -> tuple[bytes, bytes]:
    """Return a chunk's kind and body; the body is skipped unless it is the header or a wanted text."""
    head = stream.read(8)
    if len(head) != 8:
        raise _damaged(name)
    length, kind = struct.unpack(">I4s", head)
    if kind in (b"IDAT", b"IEND"):
        return kind, b""
    if kind not in (b"IHDR", b"tEXt", b"iTXt", b"zTXt"):
        stream.seek(length + 4, io.SEEK_CUR)
        return kind, b""
    if kind != b"IHDR" and not _is_looked_for(stream, length, known):
        stream.seek(length + 4, io.SEEK_CUR)
        return kind, b""
    if length > MAX_TEXT_BYTES:
        raise _too_much_text(name)
    body, checksum = stream.read(length), stream.read(4)
    if len(body) != length or checksum != struct.pack(">I", zlib.crc32(kind + body)):
        raise _damaged(name)
    return kind, body


def _is_looked_for(stream: BinaryIO, length: int, known: Collection[str]) -> bool:
    """Return whether a text chunk that begins here has one of our keywords, for the first time."""
    start = stream.tell()
    key, end, _ = stream.read(min(length, _LONGEST_KEYWORD + 1)).partition(b"\0")
    stream.seek(start)
    return bool(end) and key in _KEYWORDS and key.decode("latin-1") not in known


def _text(kind: bytes, body: bytes, name: str) -> tuple[str, str]:
    key, _, rest = body.partition(b"\0")
    encoding, packed = "latin-1", kind == b"zTXt"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        encoding, packed = "utf-8", rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]
    try:
        if packed:
            inflate = zlib.decompressobj()
            rest = inflate.decompress(rest, MAX_TEXT_BYTES)
            if inflate.unconsumed_tail:
                raise _too_much_text(name)
        return key.decode("latin-1"), rest.decode(encoding)
    except (zlib.error, UnicodeDecodeError):
        raise _damaged(name) from None


def _damaged(name: str) -> BadSetting:
    return BadSetting("picture", f"{name} is damaged; choose the file as this studio wrote it.")


def _too_much_text(name: str) -> BadSetting:
    return BadSetting(
        "picture", f"{name} carries more than {MAX_TEXT_BYTES // 1024} KiB of text; choose another picture."
    )
