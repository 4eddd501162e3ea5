"""A log-log line plot over doubling sizes, as SVG for both themes and as PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw, ImageFont

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 380, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 40, 44
# Legible on white and on black, since the PNG has no theme.
COLOURS = ("#c97a12", "#3f7fd0", "#2f9a6b", "#a860c4")
_INK, _GRID = "#80858c", "#80858c55"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes: title with unit, the points of each line (all above 0), and the label across."""

    title: str
    lines: Mapping[str, Points]
    across: str = "side of the picture, px"


@dataclass(kw_only=True)
class _Drawing:
    """The elements of a plot, in px: lines (points, colour, width), dots (x, y, colour), texts."""

    lines: list[tuple[list[tuple[float, float]], str, float]] = field(default_factory=list)
    dots: list[tuple[float, float, str]] = field(default_factory=list)
    texts: list[tuple[float, float, str, str, str]] = field(default_factory=list)


def write_plot(panels: Sequence[Panel], path: Path) -> tuple[Path, Path]:
    """Draw the panels side by side; write an SVG and a PNG next to it, and return both paths."""
    drawing = _Drawing()
    for i, panel in enumerate(panels):
        _draw(drawing, panel, i * WIDTH)
    size = WIDTH * len(panels), HEIGHT
    svg, png = path.with_suffix(".svg"), path.with_suffix(".png")
    svg.write_text(_svg(drawing, size), encoding="utf-8")
    _png(drawing, size).save(png, optimize=True)
    return svg, png


def _draw(drawing: _Drawing, panel: Panel, left: float) -> None:
    points = [point for line in panel.lines.values() for point in line]
    xs, ys = sorted({x for x, _ in points}), [y for _, y in points]
    x_low, x_high = math.log2(xs[0]), math.log2(max(xs[-1], xs[0] * 2))
    y_low, y_high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
    y_high = max(y_high, y_low + 1)
    x0, x1, y0, y1 = left + _LEFT, left + WIDTH - _RIGHT, HEIGHT - _BOTTOM, _TOP

    def across(x: float) -> float:
        return x0 + (math.log2(x) - x_low) / (x_high - x_low) * (x1 - x0)

    def up(y: float) -> float:
        return y0 + (math.log10(y) - y_low) / (y_high - y_low) * (y1 - y0)

    drawing.texts.append((x0, 16, panel.title, _INK, "start"))
    for exponent in range(y_low, y_high + 1):
        y = up(10.0**exponent)
        drawing.lines.append(([(x0, y), (x1, y)], _GRID, 1))
        drawing.texts.append((x0 - 8, y + 4, f"{10.0**exponent:g}", _INK, "end"))
    for x in xs:
        drawing.texts.append((across(x), y0 + 18, f"{x:g}", _INK, "middle"))
    drawing.texts.append(((x0 + x1) / 2, y0 + 36, panel.across, _INK, "middle"))
    named = x0
    for i, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        placed = [(across(x), up(y)) for x, y in line]
        drawing.lines.append((placed, colour, 2))
        drawing.dots += [(x, y, colour) for x, y in placed]
        drawing.texts.append((named, 32, name, colour, "start"))
        # Text widths are not measured: seven px per letter are enough at this size in any font.
        named += 7 * len(name) + 14


def _svg(drawing: _Drawing, size: tuple[int, int]) -> str:
    width, height = size
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12">'
    ]
    for points, colour, thick in drawing.lines:
        placed = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{placed}" fill="none" stroke="{colour}" stroke-width="{thick}"/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{c}"/>' for x, y, c in drawing.dots]
    for x, y, text, colour, anchor in drawing.texts:
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        parts.append(f'<text {place} fill="{colour}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _png(drawing: _Drawing, size: tuple[int, int]) -> Image.Image:
    scale = 2
    image = Image.new("RGBA", (size[0] * scale, size[1] * scale), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(12 * scale)
    for points, colour, thick in drawing.lines:
        draw.line([(x * scale, y * scale) for x, y in points], fill=colour, width=int(thick * scale))
    for x, y, colour in drawing.dots:
        draw.ellipse([(c - 3) * scale for c in (x, y)] + [(c + 3) * scale for c in (x, y)], fill=colour)
    for x, y, text, colour, anchor in drawing.texts:
        placed = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
        draw.text((x * scale, y * scale), text, fill=colour, font=font, anchor=placed)
    return image
