"""Reads init images: turned upright, opaque, eight-bit RGB, of bounded size.

What the file's header claims is checked before its pixels are decoded. Two files with the same pixels give
the same picture and the same reference.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from contextlib import suppress
from pathlib import Path

from PIL import ExifTags, Image, ImageCms

from gspn_core.errors import BadSetting
from gspn_core.images.modes import rgb_of
from gspn_core.images.stripping import bare_jpeg, bare_png, ended_jpegs, is_jpeg, is_png
from gspn_core.setting_values import MAX_ASPECT, MAX_START_PX, MIN_START_PX
from gspn_core.settings import Settings

MAX_FILE_BYTES = 32 * 1024 * 1024
MAX_FILE_PIXELS = 64_000_000
# The formats that Pillow may decode; vector and script formats are excluded.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# How a picture of each EXIF orientation is turned upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BAND_PX = 512


def read_file(path: Path, name: str | None = None) -> Image.Image:
    """Read a picture file as `read_bytes` does; name is for messages. Raises BadSetting."""
    name = name or path.name
    try:
        with path.open("rb") as stream:
            return read_bytes(stream.read(MAX_FILE_BYTES + 1), name)
    except OSError as error:
        raise BadSetting("start", f"{name} cannot be read ({error.strerror}); give another.") from None


def read_bytes(data: bytes, name: str) -> Image.Image:
    """Decode a picture as RGB: the first frame, turned upright, transparency blended with white.

    Args:
        data: the file's bytes.
        name: of the file, for messages.

    Returns:
        The picture, shrunk if a side is longer than MAX_START_PX.

    Raises:
        BadSetting: not a picture, cut off, too large, too small or too long; with the number and the remedy.
    """
    if len(data) > MAX_FILE_BYTES:
        raise BadSetting(
            "start", f"{name} has more than {MAX_FILE_BYTES // 2**20} MiB; save it smaller, as a JPEG."
        )
    profile = None
    if is_png(data):
        data, profile = bare_png(data)
    try:
        return _decoded(data, name, profile)
    except BadSetting as refusal:
        other = _mended_jpeg(data, name) if is_jpeg(data) and isinstance(refusal, _Damaged) else None
        if other is None:
            raise
        return other


class _Damaged(BadSetting):
    """A file whose pixels cannot be decoded as it stands."""


def _decoded(data: bytes, name: str, profile: bytes | None = None) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow's own limit is above ours, which is checked before a pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.init()
            image = Image.open(io.BytesIO(data), formats=[f for f in FORMATS if f in Image.OPEN])
    except Image.DecompressionBombError:
        raise _too_many_pixels(name, "too many") from None
    except Exception:
        # For a damaged file, Pillow's readers raise any kind of exception.
        raise _Damaged("start", f"{name} is not an image that can be read; give a PNG or a JPEG.") from None
    with image:
        _check_claims(image, name)
        try:
            image.draft("RGB", (MAX_START_PX, MAX_START_PX))
            image.load()
            upright = _turned(image)
            return shrunk(rgb_of(_in_srgb(upright, profile or image.info.get("icc_profile"))))
        except MemoryError:
            raise
        except Exception:
            raise _Damaged("start", f"{name} is damaged or cut off; save or send it again.") from None


def _mended_jpeg(data: bytes, name: str) -> Image.Image | None:
    """Return the picture of a JPEG with damaged side data or without its end mark, None for any other."""
    bare = bare_jpeg(data)
    with suppress(_Damaged):
        return _decoded(bare, name)
    for kept in (data, bare):
        with suppress(_Damaged):
            found, again = (_decoded(ended, name) for ended in ended_jpegs(kept))
            if found == again:
                return found
    return None


def _turned(image: Image.Image) -> Image.Image:
    """Return a picture turned upright; its EXIF is only read, so that none is too odd to be written."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:
        # Damaged EXIF, too, raises any kind of exception.
        turn = None
    return image if turn is None else image.transpose(turn)


def reference_of(image: Image.Image) -> str:
    """Return a picture's reference: its size and the hash of its pixels, such as 640x480-9f2c…"""
    return f"{image.width}x{image.height}-{digest(image)}"


def digest(image: Image.Image) -> str:
    """Return the SHA-256 of a picture's size and RGB pixels, independent of the file format."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    seal = hashlib.sha256(f"{rgb.width}x{rgb.height}".encode())
    for top in range(0, rgb.height, _BAND_PX):
        seal.update(rgb.crop((0, top, rgb.width, min(top + _BAND_PX, rgb.height))).tobytes())
    return seal.hexdigest()


def check_start(settings: Settings, image: Image.Image | None) -> None:
    """Raise BadSetting unless the picture is the init image that the settings name, if they name one."""
    if settings.start and (image is None or reference_of(image) != settings.start):
        given = "none" if image is None else reference_of(image)[:24]
        raise BadSetting(
            "start", f"start names {settings.start[:24]}… and {given} was given; give that picture."
        )


def check_control_image(reference: str, image: Image.Image | None) -> None:
    """Raise BadSetting unless the picture is the one of that reference; "" needs none."""
    if reference and (image is None or reference_of(image) != reference):
        given = "none" if image is None else reference_of(image)[:24]
        raise BadSetting(
            "control_image",
            f"control_image names {reference[:24]}… and {given} was given; give that picture.",
        )


def cropped(image: Image.Image, height: int, width: int) -> Image.Image:
    """Return the largest centre crop of a picture with the aspect of height × width."""
    ratio = width / height
    kept_width = min(image.width, max(1, round(image.height * ratio)))
    kept_height = min(image.height, max(1, round(image.width / ratio)))
    left, top = (image.width - kept_width) // 2, (image.height - kept_height) // 2
    return image.crop((left, top, left + kept_width, top + kept_height))


def _check_claims(image: Image.Image, name: str) -> None:
    """Raise BadSetting for a size out of range, as stated in the file's header."""
    width, height = image.size
    if width * height > MAX_FILE_PIXELS:
        raise _too_many_pixels(name, f"{width}×{height}")
    if min(width, height) < MIN_START_PX:
        raise BadSetting(
            "start",
            f"{name} is {width}×{height} px, its shorter side must have {MIN_START_PX} at least; "
            "give a larger one.",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadSetting("start", f"{name} is {width}×{height} px, longer than 4:1; crop it first.")


def _too_many_pixels(name: str, size: str) -> BadSetting:
    most = MAX_FILE_PIXELS // 10**6
    return BadSetting(
        "start", f"{name} has {size} px, at most {most} million in all are read; shrink it first."
    )


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the picture converted from its colour profile to sRGB; phones often use a wider gamut."""
    mode = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}.get(image.mode)
    if not profile or mode is None:
        return image
    try:
        own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, own, srgb, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        # A profile that cannot be read is ignored.
        return image


def shrunk(image: Image.Image) -> Image.Image:
    """Return a picture whose sides are at most MAX_START_PX, with the same aspect."""
    factor = MAX_START_PX / max(image.size)
    if factor >= 1:
        return image
    width, height = (min(MAX_START_PX, max(MIN_START_PX, round(side * factor))) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
