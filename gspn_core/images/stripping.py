"""Picture files without their side data, so that a damaged text or profile does not cost the picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_END_OF_JPEG = b"\xff\xd9"
# What decides the pixels, next to the chunks that every reader needs.
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_KEPT = (b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"eXIf")
_MOST_PROFILE_BYTES = 16 * 2**20
_MOST_EXIF_BYTES = 2**20
_SCAN, _ADOBE = 0xDA, 0xEE
_ALONE = {0x01, *range(0xD0, 0xD9)}


def is_png(data: bytes) -> bool:
    """Return whether a file begins as a PNG does."""
    return data.startswith(_PNG)


def is_jpeg(data: bytes) -> bool:
    """Return whether a file begins as a JPEG does."""
    return data.startswith(_JPEG)


def bare_png(data: bytes) -> tuple[bytes, bytes | None]:
    """Return a PNG with nothing but its pixels and what they mean, and its colour profile, None for none.

    What is damaged in the chunks that hold the pixels stays, for the decoder to find.
    """
    parts, profile, at = [_PNG], None, len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body, end = data[at + 8 : at + 8 + length], at + 12 + length
        sound = data[end - 4 : end] == struct.pack(">I", zlib.crc32(kind + body))
        if kind in _CRITICAL or (kind in _KEPT and sound and length <= _MOST_EXIF_BYTES):
            parts.append(data[at:end])
        elif kind == b"iCCP" and sound and profile is None:
            profile = _inflated(body)
        at = end
        if kind == b"IEND":
            break
    return b"".join(parts), profile


def _inflated(body: bytes) -> bytes | None:
    """Return the profile in an iCCP chunk, None where it cannot be unpacked."""
    _, _, packed = body.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(packed[1:], _MOST_PROFILE_BYTES)
    except zlib.error:
        return None
    return None if inflate.unconsumed_tail else profile


def bare_jpeg(data: bytes) -> bytes:
    """Return a JPEG without EXIF, profiles, comments and the like, all that stands before its pixels."""
    parts, at = [_JPEG], len(_JPEG)
    for marker, start, end in _segments(data):
        is_side_data = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if not is_side_data or marker == _ADOBE:
            parts.append(data[start:end])
        at = end
    return b"".join(parts) + data[at:]


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment before the pixels."""
    at = len(_JPEG)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _SCAN:
            return
        end = at + 2 if marker in _ALONE else at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at, min(end, len(data))
        at = end


def ended_jpegs(data: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG with its end mark, and the same with other bits before that mark.

    Both show the same picture where the file lacks nothing but the end mark: no bit of what follows the
    last pixel is decoded.
    """
    return data + _END_OF_JPEG, data + b"\x5a\xa5\x33\xcc" * 64 + _END_OF_JPEG
