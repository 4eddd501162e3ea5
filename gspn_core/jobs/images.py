"""Pictures to bytes: PNG with the settings in its text, JPEG proxies, small previews, sidecar files.

A PNG holds nothing that differs between two runs of the same settings: times and memory go to the sidecar.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import struct
import sys
import zlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gspn_core.errors import BadSetting
from gspn_core.jobs.files import replacing
from gspn_core.plan import CascadePlan

FORMAT = 1
PROXY_PX = 1536
PREVIEW_PX = 512
THUMB_PX = 320
_BAND_PX = 512
MAX_TEXT_BYTES = 256 * 1024
MAX_PIXELS = 2 * 16384**2
_KEYWORDS = ("parameters", "gspn_studio")
_PACKAGES = ("torch", "diffusers", "transformers", "pillow")
_SAMPLERS = {
    "euler": "Euler",
    "dpm++2m": "DPM++ 2M",
    "dpm++2m-karras": "DPM++ 2M Karras",
    "unipc": "UniPC",
    "ddim": "DDIM",
}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def versions() -> dict[str, str | None]:
    """Return the versions of Python, of this project and of the packages that a picture depends on."""
    found = {"gspn-studio": project_version(), "python": ".".join(map(str, sys.version_info[:3]))}
    return found | {name: _installed(name) for name in _PACKAGES}


def project_version() -> str | None:
    """Return this project's version, from the checkout or from the installed package."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    if project.is_file():
        match = re.search(r'^version = "([^"]+)"$', project.read_text("utf-8"), re.MULTILINE)
        if match:
            return match[1]
    return _installed("gspn-studio")


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def picture_info(plan: CascadePlan, stage: int, made_with: Mapping[str, str | None]) -> dict[str, Any]:
    """Return what a PNG tells of itself: everything that decides its pixels. made_with: see `versions`."""
    return {
        "format": FORMAT,
        "prompt": plan.settings.prompt,
        "negative_prompt": plan.settings.negative_prompt,
        "settings": plan.settings.to_dict(),
        "seed": plan.settings.seed,
        "model": plan.model,
        "stage": stage,
        "stages": [{"height": s.size.height, "width": s.size.width, "steps": s.steps} for s in plan.stages],
        "versions": dict(made_with),
    }


def parameters_text(info: Mapping[str, Any]) -> str:
    """Return the settings in the text form that other tools read from a PNG's "parameters"."""
    settings, size = info["settings"], info["stages"][info["stage"]]
    lines = [settings["prompt"]]
    if settings["negative_prompt"]:
        lines.append(f"Negative prompt: {settings['negative_prompt']}")
    lines.append(
        f"Steps: {settings['num_inference_steps']}, Sampler: {_SAMPLERS[settings['scheduler']]}, "
        f"CFG scale: {settings['guidance_scale']:g}, Seed: {settings['seed']}, "
        f"Size: {size['width']}x{size['height']}, Model: {info['model']}, "
        f"Version: gspn-studio {info['versions'].get('gspn-studio')}"
    )
    return "\n".join(lines)


def write_png(path: Path, image: Image.Image, info: Mapping[str, Any]) -> None:
    """Write a picture and its info (see `picture_info`); the same picture and info give the same bytes."""
    text = PngInfo()
    text.add_text("parameters", parameters_text(info))
    text.add_text("gspn_studio", json.dumps(info, sort_keys=True))
    with replacing(path) as stream:
        image.save(stream, "PNG", compress_level=1, pnginfo=text)


def write_sidecar(path: Path, info: Mapping[str, Any], **measured: Any) -> None:
    """Write the info and what was measured (seconds, peak_bytes, memory_kind, created) as JSON."""
    with replacing(path) as stream:
        stream.write(json.dumps({**info, **measured}, sort_keys=True, indent=1).encode())


def read_picture(path: Path) -> Image.Image | None:
    """Return a picture that this project wrote, as RGB; None where it is gone or damaged."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None


def digest(image: Image.Image) -> str:
    """Return the SHA-256 of a picture's size and RGB pixels, whatever file they lie in."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    seal = hashlib.sha256(f"{rgb.width}x{rgb.height}".encode())
    for top in range(0, rgb.height, _BAND_PX):
        seal.update(rgb.crop((0, top, rgb.width, min(top + _BAND_PX, rgb.height))).tobytes())
    return seal.hexdigest()


def write_proxy(path: Path, image: Image.Image, max_px: int = PROXY_PX, quality: int = 90) -> None:
    """Write a JPEG whose longer side has at most max_px."""
    with replacing(path) as stream:
        _shrunk(image, max_px).save(stream, "JPEG", quality=quality)


def preview_uri(image: Image.Image) -> str:
    """Return a small JPEG of the picture as a data URI."""
    buffer = io.BytesIO()
    _shrunk(image, PREVIEW_PX).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _shrunk(image: Image.Image, max_px: int) -> Image.Image:
    rgb = image.convert("RGB")
    factor = max_px / max(rgb.size)
    if factor >= 1:
        return rgb
    width, height = (max(1, round(side * factor)) for side in rgb.size)
    return rgb.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)


def read_png(path: Path) -> dict[str, Any]:
    """Return width, height, parameters (text or None) and gspn_studio (info or None) of a PNG.

    Reads the text alone and never decodes a pixel. Raises BadSetting for a file that is no PNG, is damaged,
    or claims more pixels or text than a picture of ours can have.
    """
    with path.open("rb") as stream:
        if stream.read(len(_SIGNATURE)) != _SIGNATURE:
            raise BadSetting("picture", f"{path.name} is no PNG; choose a PNG that this studio wrote.")
        kind, body = _chunk(stream, path.name)
        if kind != b"IHDR" or len(body) != 13:
            raise _damaged(path.name)
        width, height = struct.unpack(">II", body[:8])
        if not 0 < width * height <= MAX_PIXELS:
            raise BadSetting(
                "picture",
                f"{path.name} claims {width}×{height} px, {MAX_PIXELS:,} in all may be read; try another.",
            )
        texts = _texts(stream, path.name)
    return {
        "width": width,
        "height": height,
        "parameters": texts.get("parameters"),
        "gspn_studio": _info(texts["gspn_studio"], path.name) if "gspn_studio" in texts else None,
    }


def _info(text: str, name: str) -> dict[str, Any]:
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


def _texts(stream: BinaryIO, name: str) -> dict[str, str]:
    """Return the known texts before the first pixels."""
    texts: dict[str, str] = {}
    while True:
        kind, body = _chunk(stream, name)
        if kind in (b"IDAT", b"IEND"):
            return texts
        if kind in (b"tEXt", b"iTXt", b"zTXt"):
            key, text = _text(kind, body, name)
            if key in _KEYWORDS:
                texts.setdefault(key, text)


def _chunk(stream: BinaryIO, name: str) -> tuple[bytes, bytes]:
    """Return a chunk's kind and body; the body of what is neither header nor text is skipped."""
    head = stream.read(8)
    if len(head) != 8:
        raise _damaged(name)
    length, kind = struct.unpack(">I4s", head)
    if kind in (b"IDAT", b"IEND"):
        return kind, b""
    if kind not in (b"IHDR", b"tEXt", b"iTXt", b"zTXt"):
        stream.seek(length + 4, io.SEEK_CUR)
        return kind, b""
    if length > MAX_TEXT_BYTES:
        raise _too_much_text(name)
    body, checksum = stream.read(length), stream.read(4)
    if len(body) != length or checksum != struct.pack(">I", zlib.crc32(kind + body)):
        raise _damaged(name)
    return kind, body


def _text(kind: bytes, body: bytes, name: str) -> tuple[str, str]:
    key, _, rest = body.partition(b"\0")
    encoding, packed = "latin-1", kind == b"zTXt"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        encoding, packed = "utf-8", rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]
    try:
        if packed:
            inflate = zlib.decompressobj()
            rest = inflate.decompress(rest, MAX_TEXT_BYTES)
            if inflate.unconsumed_tail:
                raise _too_much_text(name)
        return key.decode("latin-1"), rest.decode(encoding)
    except (zlib.error, UnicodeDecodeError):
        raise _damaged(name) from None


def _damaged(name: str) -> BadSetting:
    return BadSetting("picture", f"{name} is damaged; choose the file as this studio wrote it.")


def _too_much_text(name: str) -> BadSetting:
    return BadSetting(
        "picture", f"{name} carries more than {MAX_TEXT_BYTES // 1024} KiB of text; choose another picture."
    )
