"""Side data never costs the picture, and pictures of any depth come out as they look."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from gspn_core.errors import BadSetting
from gspn_core.images.load import read_bytes
from gspn_core.images.modes import rgb_of
from tests.gspn_core.images.foreign_files import SIGNATURE, chunk, png, text_chunk

COLOUR = (32, 128, 64)


def jpeg(**options) -> bytes:
    """Return a JPEG of one colour with a red corner."""
    image = Image.new("RGB", (96, 64), COLOUR)
    image.paste((220, 30, 30), (0, 0, 24, 24))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


def tiff_exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """Return an EXIF block of tags by hand: number, kind, count and four bytes of value or place."""
    body = b"".join(struct.pack("<HHI", *tag[:3]) + tag[3] for tag in tags)
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + body + bytes(4)
    return block + b"\xff" * 4 + bytes(4)


TURNED = (0x0112, 3, 1, struct.pack("<HH", 6, 0))


@pytest.mark.parametrize(
    "data",
    [
        png(text_chunk("zTXt", "workflow", "w" * 3_000_000)),
        png(text_chunk("iTXt+", "workflow", "w" * 3_000_000)),
        png(*(text_chunk("zTXt", f"k{n}", "w" * 900_000) for n in range(80))),
        png(text_chunk("tEXt", "workflow", "w" * 3_000_000)),
        png(text_chunk("tEXt", "workflow", "w", is_sound=False)),
        png(chunk(b"zTXt", b"k\0\0junk")),
        png(chunk(b"zTXt", b"k\0\7" + zlib.compress(b"w"))),
        png(chunk(b"iTXt", b"k\0\1\0")),
        png(chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\2\1\x12\0\3")),
        png(chunk(b"eXIf", b"")),
        png(chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(9_000_000)))),
        png(chunk(b"iCCP", b"p\0\0junk")),
        png(chunk(b"iCCP", b"")),
        png(chunk(b"pHYs", b"\0")),
        png(chunk(b"tIME", b"")),
        png(chunk(b"gAMA", b"\0\0\xb1\x8f", is_sound=False)),
        png(chunk(b"caBX", bytes(2_000_000))),
        png(chunk(b"acTL", b"")),
        png(after=(chunk(b"tEXt", b"torn", is_sound=False),)),
        png(after=(text_chunk("zTXt", "workflow", "w" * 3_000_000),)),
    ],
    ids=range(20),
)
def test_a_png_is_taken_whatever_stands_next_to_its_pixels(data):
    image = read_bytes(data, "a.png")
    assert image.size == (96, 64) and image.getcolors() == [(96 * 64, COLOUR)]


def test_a_damaged_picture_is_still_refused():
    whole = png()
    for torn in (whole[:-40], whole.replace(b"IDAT", b"IDAX"), SIGNATURE + whole[33:]):
        with pytest.raises(BadSetting):
            read_bytes(torn, "a.png")


@pytest.mark.parametrize(
    ("tags", "is_turned"),
    [
        ([TURNED], True),
        ([TURNED, (0x9201, 10, 1, struct.pack("<I", 38))], True),
        ([TURNED, (0x829A, 5, 1, struct.pack("<I", 38))], True),
        ([TURNED, (0x010F, 2, 4_000_000, struct.pack("<I", 8))], True),
        ([TURNED, (0x8769, 4, 1, struct.pack("<I", 9999))], True),
        ([TURNED, (0x8825, 4, 1, struct.pack("<I", 8))], True),
        ([(0x0112, 3, 1, struct.pack("<HH", 99, 0))], False),
        ([(0x0112, 2, 4, b"six\0")], False),
        ([(0x0112, 5, 1, struct.pack("<I", 38))], False),
    ],
    ids=range(9),
)
def test_exif_costs_at_most_the_turning(tags, is_turned):
    data = with_segment(jpeg(), 0xE1, b"Exif\0\0" + tiff_exif(*tags))
    assert read_bytes(data, "a.jpg").size == ((64, 96) if is_turned else (96, 64))


@pytest.mark.parametrize(
    "data",
    [
        with_segment(jpeg(), 0xE1, b"Exif\0\0" + b"II*\0\xff\xff\xff\xff"),
        with_segment(jpeg(), 0xE1, b"Exif\0\0"),
        with_segment(jpeg(), 0xE1, b"Exif"),
        with_segment(jpeg(), 0xE2, b"ICC_PROFILE\0\1\2torn"),
        with_segment(jpeg(), 0xE2, b"MPF\0torn"),
        with_segment(jpeg(), 0xE2, b"MPF\0MM\0*\0\0\0\x08\0\2"),
        with_segment(jpeg(), 0xED, b"Photoshop 3.0\0008BIM\x04\x04"),
        with_segment(jpeg(), 0xFE, b"\xff\xfe comment"),
        jpeg() + b"trailer" * 1000,
        jpeg()[:-2],
        jpeg(progressive=True)[:-2],
        with_segment(jpeg(), 0xE1, b"Exif\0\0II*\0")[:-2],
    ],
    ids=range(12),
)
def test_a_jpeg_is_taken_whatever_stands_around_its_pixels(data):
    image = read_bytes(data, "a.jpg")
    assert image.size == (96, 64)
    assert image.getpixel((80, 50)) == pytest.approx(COLOUR, abs=4)
    assert image.getpixel((8, 8)) == pytest.approx((220, 30, 30), abs=8)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_jpeg_that_lacks_more_than_its_end_mark_is_refused(kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG")
    data = stream.getvalue()
    with pytest.raises(BadSetting, match="is damaged or cut off"):
        read_bytes(data[: int(len(data) * kept)], "a.jpg")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_every_format_stands_upright(kind, orientation):
    upright = Image.new("RGB", (96, 64), COLOUR)
    upright.paste((220, 30, 30), (0, 0, 32, 32))
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = upright.transpose(turn[orientation]) if orientation in turn else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stream = io.BytesIO()
    stored.save(stream, kind, exif=exif)
    read = read_bytes(stream.getvalue(), "a")
    assert read.size == (96, 64)
    assert read.getpixel((10, 10)) == pytest.approx((220, 30, 30), abs=24)


def grey_png(values: np.ndarray, *before: bytes) -> bytes:
    """Return a grey PNG of 16 bits with chunks before its pixels."""
    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))
    return SIGNATURE + header + b"".join(before) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bit_grey_shows_white_where_it_is_transparent():
    values = np.full((64, 64), 20_000)
    values[:, 32:] = 40_000
    read = read_bytes(grey_png(values, chunk(b"tRNS", struct.pack(">H", 40_000))), "a")
    assert (read.getpixel((8, 8)), read.getpixel((50, 8))) == ((77, 77, 77), (255, 255, 255))


def test_sixteen_bit_colours_show_white_where_they_are_transparent():
    values = np.full((64, 64, 3), (65535, 0, 0), ">u2")
    values[:, 32:] = (0, 65535, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0))
    clear = chunk(b"tRNS", struct.pack(">HHH", 0, 65535, 0))
    data = SIGNATURE + header + clear + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    read = read_bytes(data, "a")
    assert (read.getpixel((8, 8)), read.getpixel((50, 8))) == ((255, 0, 0), (255, 255, 255))


def ramp(low: float, high: float, kind: type) -> np.ndarray:
    return np.linspace(low, high, 64 * 64).reshape(64, 64).astype(kind)


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        (ramp(0, 255, np.int32), (0, 255)),
        (ramp(0, 65535, np.int32), (0, 255)),
        (ramp(0, 2**31 - 1, np.int32), (0, 127)),
        (ramp(-100, 100, np.int32), (0, 255)),
        (np.full((64, 64), 200, np.int32), (200, 200)),
        (np.full((64, 64), -5, np.int32), (128, 128)),
        (ramp(0, 1, np.float32), (0, 255)),
        (ramp(0, 255, np.float32), (0, 255)),
        (ramp(0, 5000, np.float32), (0, 255)),
        (ramp(-2, 2, np.float32), (0, 255)),
        (np.full((64, 64), 0.5, np.float32), (128, 128)),
        (np.full((64, 64), 90.0, np.float32), (90, 90)),
        (np.full((64, 64), 900.0, np.float32), (128, 128)),
    ],
    ids=range(13),
)
def test_deep_values_come_out_as_they_look(values, ends):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF")
    read = np.asarray(read_bytes(stream.getvalue(), "a.tif"))
    assert (int(read.min()), int(read.max())) == pytest.approx(ends, abs=1)
    assert (read[..., 0] == read[..., 2]).all()


def test_values_that_are_not_numbers_are_black_and_the_rest_is_seen():
    values = ramp(0, 1, np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    read = np.asarray(rgb_of(Image.fromarray(values)))
    assert [int(value) for value in read[0, :3, 0]] == [0, 255, 0]
    assert read[-1, -1, 0] == 255 and read.std() > 50
    stream = io.BytesIO()
    Image.fromarray(np.full((64, 64), np.nan, np.float32)).save(stream, "TIFF")
    with pytest.raises(BadSetting, match="is damaged"):
        read_bytes(stream.getvalue(), "a.tif")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_seen_in_its_colours(kind):
    stream = io.BytesIO()
    Image.new("RGB", (96, 64), (200, 40, 40)).convert("CMYK").save(stream, kind)
    assert read_bytes(stream.getvalue(), "a").getpixel((9, 9)) == pytest.approx((200, 40, 40), abs=6)
