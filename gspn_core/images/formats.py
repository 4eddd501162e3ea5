"""A finished picture as WebP or JPEG with the settings that its PNG has, and a film of a cascade."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from gspn_core.files import replacing
from gspn_core.images.png import parameters_text
from gspn_core.images.xmp import xmp_of

# Pixels that are decoded and encoded at once, and what each format can hold at a side.
MOST_PIXELS = 8192 * 8192
MOST_SIDE_PX: Mapping[str, int] = {"webp": 16383, "jpeg": 65500}
FILM_PX = 1024
HOLD_MS, LAST_HOLD_MS = 1100, 2600
_EXIF_IFD, _USER_COMMENT, _SOFTWARE = 0x8769, 0x9286, 0x0131
# A JPEG keeps either in one segment, as a WebP need not.
_MOST_BYTES: Mapping[str, int] = {"webp": 512 * 1024, "jpeg": 65_000}
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "webp": {"quality": 92, "method": 3},
    "jpeg": {"quality": 95, "subsampling": 0},
}


def fits(ending: str, height: int, width: int) -> bool:
    """Return whether a picture of that size in px can be written in a format: "webp" or "jpeg"."""
    return max(height, width) <= MOST_SIDE_PX[ending] and height * width <= MOST_PIXELS


def write_as(path: Path, png: Path) -> None:
    """Write a PNG of this project as its path's ending says, with the same settings.

    They are in EXIF's UserComment as other tools read them, and whole in XMP.

    Raises:
        OSError, ValueError, SyntaxError: the PNG is gone or damaged, or the disk is full.
    """
    ending = path.suffix[1:]
    with Image.open(png) as image:
        texts = dict(image.text)
        with replacing(path) as stream:
            options = {**_OPTIONS[ending], **metadata_of(texts, ending)}
            image.convert("RGB").save(stream, ending.upper(), **options)


def metadata_of(texts: Mapping[str, str], ending: str) -> dict[str, bytes]:
    """Return the EXIF and XMP of a PNG's text, as `Image.save` takes them.

    What is longer than a format of that ending keeps is left out.
    """
    info = json.loads(texts["gspn_studio"])
    exif = Image.Exif()
    exif[_SOFTWARE] = f"gspn-studio {info['versions'].get('gspn-studio')}"
    comment = texts.get("parameters") or parameters_text(info)
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + comment.encode("utf-16-be")
    found = {"exif": exif.tobytes(), "xmp": xmp_of(info)}
    return {name: value for name, value in found.items() if len(value) <= _MOST_BYTES[ending]}


def write_film(path: Path, pictures: Sequence[Path], png: Path) -> None:
    """Write an animated WebP of a cascade's stages, each enlarged to the last one's size.

    Args:
        path: Of the film.
        pictures: Of the stages, first to last; each may be smaller than its stage.
        png: The last stage's, which has the settings and the shape.

    Raises:
        OSError, ValueError, SyntaxError: a picture is gone or damaged, or the disk is full.
    """
    with Image.open(png) as last:
        factor = min(1.0, FILM_PX / max(last.size))
        size = tuple(max(1, round(side * factor)) for side in last.size)
        metadata = metadata_of(dict(last.text), "webp")
    first, *others = [_frame(picture, size) for picture in pictures]
    holds = [HOLD_MS] * len(others) + [LAST_HOLD_MS]
    with replacing(path) as stream:
        first.save(
            stream,
            "WEBP",
            save_all=True,
            append_images=others,
            duration=holds,
            loop=0,
            quality=88,
            method=3,
            **metadata,
        )


def _frame(picture: Path, size: tuple[int, int]) -> Image.Image:
    with Image.open(picture) as image:
        if image.width > size[0]:
            return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
