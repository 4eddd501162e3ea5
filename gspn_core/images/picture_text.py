"""What a picture of any format says of how it was made."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from gspn_core.errors import BadSetting
from gspn_core.images.exif_text import comment_text, texts_of
from gspn_core.images.load import FORMATS
from gspn_core.images.png_text import info_of, read_png
from gspn_core.images.stripping import is_png
from gspn_core.images.xmp import text_in

_SIDEWAYS = (5, 6, 7, 8)


def read_texts(path: Path, name: str | None = None) -> dict[str, Any]:
    """Return what `read_png` does, for a picture of any format that is read here; name is for messages.

    Raises:
        BadSetting: not a picture, damaged, or with more pixels or text than is read.
        OSError: the file cannot be opened.
    """
    name = name or path.name
    with path.open("rb") as stream:
        begins_as_png = is_png(stream.read(8))
    if begins_as_png:
        return read_png(path)
    try:
        with warnings.catch_warnings():
            # No pixel is decoded; what the header claims is not to be believed, nor warned of.
            warnings.simplefilter("ignore")
            Image.init()
            with Image.open(path, formats=[f for f in FORMATS if f in Image.OPEN]) as image:
                return _texts_of(image, name)
    except BadSetting:
        raise
    except Exception:
        # For a damaged file, Pillow's readers raise any kind of exception.
        raise BadSetting(
            "picture", f"{name} is not an image that can be read; choose a PNG, JPEG, WebP or AVIF."
        ) from None


def _texts_of(image: Image.Image, name: str) -> dict[str, Any]:
    try:
        exif = image.getexif()
        sideways = exif.get(ExifTags.Base.Orientation) in _SIDEWAYS
        others = texts_of(exif)
    except Exception:
        sideways, others = False, {}
    width, height = image.size[::-1] if sideways else image.size
    comment = image.info.get("comment")
    if isinstance(comment, bytes) and "UserComment" not in others:
        others["UserComment"] = comment_text(comment)
    own = text_in(image.info.get("xmp"))
    info = None if own is None else info_of(own, name)
    return {"width": width, "height": height, "parameters": None, "gspn_studio": info, "others": others}
