"""The texts in a picture's EXIF where other tools keep settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image

_MOST_BYTES = 256 * 1024
_USER_COMMENT, _MAKER_NOTE = ExifTags.Base.UserComment, ExifTags.Base.MakerNote
_PLAIN_TAGS = {
    ExifTags.Base.Software: "Software",
    ExifTags.Base.ImageDescription: "Description",
    ExifTags.Base.Make: "Make",
    ExifTags.Base.Model: "Model",
}
# Some exports of ComfyUI keep a PNG's keyword and its text together in a tag.
_WITH_KEYWORD = ("prompt", "workflow")


def texts_of_exif(data: bytes) -> dict[str, str]:
    """Return the texts in an EXIF block as `texts_of` does."""
    exif = Image.Exif()
    try:
        exif.load(data)
    except Exception:
        # For damaged EXIF, Pillow raises any kind of exception.
        return {}
    return texts_of(exif)


def texts_of(exif: Image.Exif) -> dict[str, str]:
    """Return the texts of a picture's EXIF by name: UserComment, Software, Description, prompt, workflow.

    Only those that are there; what is damaged or longer than 256 KiB is left out.
    """
    inner = _tags(lambda: exif.get_ifd(ExifTags.IFD.Exif))
    outer = _tags(lambda: exif)
    found = {}
    for tags in (inner, outer):
        comment = comment_text(tags.get(_USER_COMMENT))
        if comment and "UserComment" not in found:
            found["UserComment"] = comment
    scheme = _plain(inner.get(_MAKER_NOTE) or outer.get(_MAKER_NOTE))
    if scheme in ("fooocus", "a1111"):
        found["fooocus_scheme"] = scheme
    for tag, name in _PLAIN_TAGS.items():
        text = _plain(outer.get(tag))
        keyword, mark, rest = text.partition(":")
        if mark and keyword.lower() in _WITH_KEYWORD and rest.lstrip().startswith("{"):
            found[keyword.lower()] = rest
        elif text and name in ("Software", "Description"):
            found[name] = text
    return found


def comment_text(value: Any) -> str:
    """Return a UserComment as text: UTF-16 of either order, UTF-8 or Latin-1, with or without its prefix."""
    if isinstance(value, str):
        value = value.encode("latin-1", "replace")
    if not isinstance(value, bytes) or len(value) > _MOST_BYTES:
        return ""
    prefix, rest = value[:8], value[8:]
    if prefix.rstrip(b"\0 ").upper() in (b"UNICODE", b"ASCII", b"JIS", b""):
        value = rest
    return _decoded(value).strip("\0").strip()


def _decoded(data: bytes) -> str:
    for mark, encoding in (
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
        (b"\xef\xbb\xbf", "utf-8"),
    ):
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    # Settings have Latin names in any language, and so a zero in most of their code units.
    even, odd = data[0::2].count(0), data[1::2].count(0)
    if max(even, odd) > len(data) // 16:
        return data.decode("utf-16-be" if even > odd else "utf-16-le", "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _tags(read: Any) -> Mapping[int, Any]:
    """Return the tags that can be read, none where the block is damaged."""
    try:
        return dict(read())
    except Exception:
        return {}


def _plain(value: Any) -> str:
    """Return a tag's text, in which many tools write UTF-8 in place of Latin-1."""
    if isinstance(value, str):
        value = value.encode("latin-1", "replace")
    if not isinstance(value, bytes) or len(value) > _MOST_BYTES:
        return ""
    return _decoded(value.rstrip(b"\0")).strip()
