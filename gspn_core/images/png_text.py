"""The text chunks of a PNG, read without decoding pixels and without trusting the file."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from gspn_core.errors import BadSetting
from gspn_core.images.exif_text import texts_of_exif
from gspn_core.images.png import FORMAT

MAX_TEXT_BYTES = 256 * 1024
MAX_PIXELS = 2 * 16384**2
MAX_CHUNKS = 4096
_MOST_PIXEL_CHUNKS = 2**17
# A chunk that cannot be read is passed over for a later one of its name; not any number of them.
_MOST_TRIES = 8
_PARAMETERS, _INFO = "parameters", "gspn_studio"
# Where other tools keep settings, or say who they are.
FOREIGN_KEYWORDS = (
    "prompt",
    "workflow",
    "invokeai_metadata",
    "invokeai_graph",
    "sd-metadata",
    "Dream",
    "Comment",
    "Description",
    "Software",
    "fooocus_scheme",
)
KEYWORDS = (_PARAMETERS, _INFO, *FOREIGN_KEYWORDS)
_LONGEST_KEYWORD = 79
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"iTXt", b"zTXt")


def read_png(path: Path) -> dict[str, Any]:
    """Return what a PNG says of itself, before its pixels and after them.

    Returns:
        width, height, parameters (text or None), gspn_studio (info or None), and others: the texts of other
        tools by keyword, "" for one that is too long or damaged.

    Raises:
        BadSetting: not a PNG, damaged, or with more pixels or text than a picture of this project can have.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as stream:
        return _read(stream, path.name)


def read_png_head(head: bytes, name: str) -> dict[str, Any]:
    """Do the same as `read_png` for a file without its pixels; name is for messages."""
    return _read(io.BytesIO(head), name)


@dataclass
class _Found:
    """The texts of a PNG. flaws: by keyword, why a chunk of it could not be read."""

    name: str
    texts: dict[str, str] = field(default_factory=dict)
    flaws: dict[str, BadSetting] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    exif: Mapping[str, str] = field(default_factory=dict)
    has_pixels: bool = False
    has_end: bool = False


def _read(stream: BinaryIO, name: str) -> dict[str, Any]:
    if stream.read(len(_SIGNATURE)) != _SIGNATURE:
        raise BadSetting("picture", f"{name} is not a PNG; choose a PNG that this studio wrote.")
    kind, body = _header(stream)
    if kind != b"IHDR" or len(body) != 13:
        raise _damaged(name)
    width, height = struct.unpack(">II", body[:8])
    if not 0 < width * height <= MAX_PIXELS:
        raise BadSetting(
            "picture", f"{name} claims {width}×{height} px, {MAX_PIXELS:,} in all may be read; try another."
        )
    found = _Found(name=name)
    _walk(stream, found)
    texts = found.texts
    if _INFO in found.flaws and _INFO not in texts:
        raise found.flaws[_INFO]
    others = {key: texts.get(key, "") for key in FOREIGN_KEYWORDS if key in texts or key in found.flaws}
    others = {**found.exif, **others}
    if not texts and not others:
        flaw = next(iter(found.flaws.values()), None)
        if flaw or not (found.has_pixels or found.has_end):
            raise flaw or _damaged(name)
    return {
        "width": width,
        "height": height,
        "parameters": texts.get(_PARAMETERS),
        "gspn_studio": info_of(texts[_INFO], name) if _INFO in texts else None,
        "others": others,
    }


def info_of(text: str, name: str) -> dict[str, Any]:
    """Return a picture's info from its text; name is for messages.

    Raises:
        BadSetting: damaged, or of another format than this version reads.
    """
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


def _header(stream: BinaryIO) -> tuple[bytes, bytes]:
    head = stream.read(8)
    if len(head) != 8:
        return b"", b""
    length, kind = struct.unpack(">I4s", head)
    body = stream.read(min(length, 13))
    sound = stream.read(4) == struct.pack(">I", zlib.crc32(kind + body))
    return (kind, body) if sound else (b"", b"")


def _walk(stream: BinaryIO, found: _Found) -> None:
    """Read the known texts of every chunk, as far as the file goes."""
    chunks = pixel_chunks = 0
    while chunks < MAX_CHUNKS and pixel_chunks < _MOST_PIXEL_CHUNKS:
        head = stream.read(8)
        if len(head) != 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            found.has_end = True
            return
        if kind == b"IDAT":
            found.has_pixels = True
            pixel_chunks += 1
        else:
            chunks += 1
        end = stream.tell() + length + 4
        if kind in _TEXTS:
            _take_text(stream, kind, length, found)
        elif kind == b"eXIf" and not found.exif and length <= MAX_TEXT_BYTES:
            found.exif = texts_of_exif(stream.read(length))
        stream.seek(end)


def _take_text(stream: BinaryIO, kind: bytes, length: int, found: _Found) -> None:
    """Read the text chunk that begins here if it has one of the known keywords, for the first time."""
    start = stream.tell()
    raw, end, _ = stream.read(min(length, _LONGEST_KEYWORD + 1)).partition(b"\0")
    key = raw.decode("latin-1")
    if not end or key not in KEYWORDS or found.texts.get(key) or found.tries[key] >= _MOST_TRIES:
        return
    found.tries[key] += 1
    stream.seek(start)
    try:
        if length > MAX_TEXT_BYTES:
            raise _too_much_text(found.name)
        body, checksum = stream.read(length), stream.read(4)
        if len(body) != length or checksum != struct.pack(">I", zlib.crc32(kind + body)):
            raise _damaged(found.name)
        found.texts[key] = _text(kind, body, found.name)
    except BadSetting as flaw:
        found.flaws.setdefault(key, flaw)


def _text(kind: bytes, body: bytes, name: str) -> str:
    _, _, rest = body.partition(b"\0")
    packed = kind == b"zTXt"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]
    try:
        if packed:
            inflate = zlib.decompressobj()
            rest = inflate.decompress(rest, MAX_TEXT_BYTES)
            if inflate.unconsumed_tail:
                raise _too_much_text(name)
        return rest.decode()
    except UnicodeDecodeError:
        if kind != b"iTXt":
            # The encoding that a PNG's plain texts should have, where many tools write UTF-8.
            return rest.decode("latin-1")
        raise _damaged(name) from None
    except zlib.error:
        raise _damaged(name) from None


def _damaged(name: str) -> BadSetting:
    return BadSetting("picture", f"{name} is damaged; choose the file as this studio wrote it.")


def _too_much_text(name: str) -> BadSetting:
    return BadSetting(
        "picture", f"{name} carries more than {MAX_TEXT_BYTES // 1024} KiB of text; choose another picture."
    )
