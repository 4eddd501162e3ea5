import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from gspn_core.errors import BadSetting
from gspn_core.images import load as pictures
from gspn_core.images.load import check_start, cropped, read_bytes, read_file, reference_of
from gspn_core.setting_values import MAX_START_PX, start_size
from gspn_core.settings import Settings


def pixels(height: int = 80, width: int = 120) -> Image.Image:
    rng = np.random.default_rng(0)
    soft = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(soft).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + body


def test_the_same_pixels_have_one_reference_in_any_file():
    image = pixels()
    files = [encoded(image, kind) for kind in ("PNG", "BMP", "TIFF")] + [
        encoded(image, "WEBP", lossless=True)
    ]
    references = {reference_of(read_bytes(data, "a")) for data in files}
    assert references == {reference_of(image)}
    assert start_size(reference_of(image)) == (80, 120)


def test_one_pixel_more_or_less_red_is_another_picture():
    image = pixels()
    other = image.copy()
    other.putpixel((3, 5), (1, 2, 3))
    assert reference_of(image) != reference_of(other)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_stands_upright(orientation):
    upright = pixels()
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turn[orientation]) if orientation in turn else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_bytes(encoded(stored, "PNG", exif=exif), "a")
    assert np.array_equal(np.array(read), np.array(upright))


def test_transparency_becomes_white():
    clear = Image.new("RGBA", (64, 64), (200, 0, 0, 0))
    half = Image.new("RGBA", (64, 64), (0, 0, 0, 128))
    assert read_bytes(encoded(clear), "a").getpixel((9, 9)) == (255, 255, 255)
    assert read_bytes(encoded(half), "a").getpixel((9, 9)) == pytest.approx((127, 127, 127), abs=1)
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert read_bytes(encoded(palette, "GIF", transparency=0), "a").getpixel((9, 9)) == (255, 255, 255)


def test_sixteen_bits_keep_their_upper_half():
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    read = np.array(read_bytes(encoded(Image.fromarray(ramp)), "a"))
    assert np.abs(read[..., 0].astype(int) - (ramp / 257).astype(int)).max() <= 1
    assert (read[..., 0] == read[..., 2]).all()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "PNG"),
        ("1", "PNG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("LA", "PNG"),
        ("CMYK", "TIFF"),
        ("LAB", "TIFF"),
    ],
)
def test_every_mode_comes_out_as_its_colours_in_rgb(mode, kind):
    image = pixels().convert(mode)
    read = read_bytes(encoded(image, kind), "a")
    assert read.mode == "RGB" and read.size == (120, 80)
    if mode != "LAB":
        assert np.array_equal(np.array(read), np.array(image.convert("RGB")))


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_bytes(data, "a").getpixel((5, 5)) == (255, 0, 0)


def test_colours_of_a_profile_are_converted_to_srgb_and_a_broken_profile_is_ignored():
    image = Image.new("RGB", (64, 64), (200, 40, 40))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = read_bytes(encoded(image, icc_profile=lab), "a").getpixel((5, 5))
    assert same == pytest.approx((200, 40, 40), abs=1)
    assert read_bytes(encoded(image, icc_profile=b"no profile"), "a").getpixel((5, 5)) == (200, 40, 40)


def test_a_picture_that_is_too_large_to_keep_is_shrunk_in_proportion():
    wide = Image.new("RGB", (6000, 1500), "green")
    read = read_bytes(encoded(wide), "a")
    assert read.size == (MAX_START_PX, 1024)
    assert start_size(reference_of(read)) == (1024, 4096)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is not an image that can be read"),
        (b"hello", "is not an image that can be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "is not an image that can be read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "is not an image that can be read"),
        (encoded(pixels())[:-400], "is damaged or cut off"),
        (encoded(pixels(800, 1200), "JPEG")[:4000], "is damaged or cut off"),
        (png_that_claims(200, 200), "is damaged or cut off"),
        (png_that_claims(9000, 9000), "has 9000×9000 px, at most 64 million"),
        (png_that_claims(65535, 65535), "at most 64 million"),
        (encoded(pixels(40, 120)), r"is 120×40 px, its shorter side must have 64 at least"),
        (encoded(Image.new("RGB", (330, 80))), r"is 330×80 px, longer than 4:1; crop it"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_an_unusable_file_is_refused_in_a_sentence_with_its_remedy(data, sentence):
    with pytest.raises(BadSetting, match=sentence) as caught:
        read_bytes(data, "holiday.png")
    message = str(caught.value)
    assert caught.value.field == "start"
    assert message.startswith("holiday.png ") and message.endswith(".")
    assert ";" in message and len(message) < 160


def test_a_file_of_too_many_bytes_is_refused_before_it_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 2 * 2**20)
    large = tmp_path / "large.bmp"
    large.write_bytes(encoded(Image.new("RGB", (1000, 1000)), "BMP"))
    with pytest.raises(BadSetting, match=r"large\.bmp has more than 2 MiB; save it smaller"):
        read_file(large)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(BadSetting, match=r"gone\.png cannot be read \(No such file"):
        read_file(tmp_path / "gone.png")


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 128), (128, 64), (97, 131)])
def test_the_middle_is_kept_at_the_aspect_wanted(height, width):
    image = pixels(160, 240)
    kept = cropped(image, height, width)
    assert kept.width in (240, pytest.approx(160 * width / height, abs=1))
    assert kept.width / kept.height == pytest.approx(width / height, rel=0.02)
    assert max(kept.width / 240, kept.height / 160) == 1
    assert cropped(image, 160, 240).tobytes() == image.tobytes()


def test_only_the_picture_that_is_named_will_do():
    image = pixels()
    settings = Settings(prompt="a", start=reference_of(image))
    check_start(settings, image)
    check_start(Settings(prompt="a"), None)
    for other in (None, image.transpose(Image.Transpose.ROTATE_180)):
        with pytest.raises(BadSetting, match="give that picture") as caught:
            check_start(settings, other)
        assert caught.value.field == "start"
