"""A region of a picture as text: shapes in thousandths of its sides, so that it holds at any size.

    box 250 500 200 120; brush 30 100 100 180 140

is a box (left, top, width, height) and a stroke (radius, then the points x y that it passes, the radius in
thousandths of the longer side). "outside" before them stands for all that they leave out.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw

from gspn_core.errors import BadSetting

MAX_REGION_CHARACTERS = 20_000
MAX_SHAPES = 200
_WHOLE = 1000.0
_NUMBER = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,2})?")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A box (left, top, width, height) or a brush (radius, x, y, x, y …), in thousandths."""

    name: str
    numbers: tuple[float, ...]

    def __str__(self) -> str:
        return " ".join((self.name, *(f"{number:g}" for number in self.numbers)))


@dataclass(frozen=True, kw_only=True)
class Region:
    """Shapes, or with `outside` all that they leave out."""

    shapes: tuple[Shape, ...]
    outside: bool = False

    def __str__(self) -> str:
        return "; ".join((*(("outside",) if self.outside else ()), *map(str, self.shapes)))

    def mask(self, height: int, width: int) -> Image.Image:
        """Return the region in a picture of that size: 255 inside, 0 elsewhere ("L").

        Raises:
            BadSetting: it holds no pixel of such a picture.
        """
        mask = Image.new("L", (width, height), 255 if self.outside else 0)
        pen = ImageDraw.Draw(mask)
        for shape in self.shapes:
            _draw(pen, shape, height, width, 0 if self.outside else 255)
        if mask.getbbox() is None:
            raise BadSetting(
                "region", f"region holds no pixel of a picture of {width}×{height} px; draw it larger."
            )
        return mask

    def thickness(self, height: int, width: int) -> float:
        """Return half the width in px of its thinnest shape."""
        return min(_half_width(shape, height, width) for shape in self.shapes)


def parse_region(text: str) -> Region | None:
    """Return the region of a text, None for an empty one; raise BadSetting for any other value."""
    if not isinstance(text, str) or len(text) > MAX_REGION_CHARACTERS:
        raise BadSetting(
            "region", f"region must be text of at most {MAX_REGION_CHARACTERS:,} characters; draw less of it."
        )
    return _parsed(text)


@lru_cache(maxsize=64)
def _parsed(text: str) -> Region | None:
    words = [part.split() for part in text.split(";") if part.strip()]
    outside = words[:1] == [["outside"]]
    shapes = tuple(_shape(part) for part in words[1 if outside else 0 :])
    if len(shapes) > MAX_SHAPES:
        raise BadSetting(
            "region", f"region has {len(shapes):,} shapes, at most {MAX_SHAPES} fit; draw fewer."
        )
    if outside and not shapes:
        raise _unreadable(text)
    return Region(shapes=shapes, outside=outside) if shapes else None


def _shape(words: list[str]) -> Shape:
    name, *rest = words
    if not all(_NUMBER.fullmatch(word) and float(word) <= _WHOLE for word in rest):
        raise _unreadable(" ".join(words))
    numbers = tuple(map(float, rest))
    is_box = name == "box" and len(numbers) == 4 and min(numbers[2:]) > 0
    is_brush = name == "brush" and len(numbers) >= 3 and len(numbers) % 2 == 1 and numbers[0] > 0
    if not (is_box or is_brush):
        raise _unreadable(" ".join(words))
    return Shape(name=name, numbers=numbers)


def _unreadable(text: str) -> BadSetting:
    return BadSetting(
        "region",
        "region must be shapes such as box 250 500 200 120; brush 30 100 100 180 140, in thousandths of the "
        f"picture's sides, got {text[:40]!r}.",
    )


def _draw(pen: ImageDraw.ImageDraw, shape: Shape, height: int, width: int, value: int) -> None:
    if shape.name == "box":
        left, top, wide, high = shape.numbers
        corner = (left + wide) * width / _WHOLE - 1, (top + high) * height / _WHOLE - 1
        start = left * width / _WHOLE, top * height / _WHOLE
        pen.rectangle((start, tuple(map(max, start, corner))), fill=value)
        return
    radius = max(0.5, _half_width(shape, height, width))
    numbers = iter(shape.numbers[1:])
    points = [(x * width / _WHOLE, y * height / _WHOLE) for x, y in zip(numbers, numbers, strict=True)]
    for x, y in points:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value)
    for one, other in itertools.pairwise(points):
        pen.line((one, other), fill=value, width=max(1, round(2 * radius)))


def _half_width(shape: Shape, height: int, width: int) -> float:
    if shape.name == "brush":
        return shape.numbers[0] * max(height, width) / _WHOLE
    return min(shape.numbers[2] * width, shape.numbers[3] * height) / _WHOLE / 2
