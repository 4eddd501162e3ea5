"""Pictures to bytes: PNG with the settings in its text, JPEG proxies, small previews, sidecar files.

A PNG has nothing that differs between two runs of the same settings; times and memory go to the sidecar.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gspn_core.files import replacing
from gspn_core.lora.text import parse_loras, tags_text
from gspn_core.planning.types import CascadePlan
from gspn_core.settings import Settings

FORMAT = 1
PROXY_PX = 1536
PREVIEW_PX = 512
THUMB_PX = 320
_PACKAGES = ("torch", "diffusers", "transformers", "pillow")
SAMPLERS = {
    "euler": "Euler",
    "euler-karras": "Euler Karras",
    "dpm++2m": "DPM++ 2M",
    "dpm++2m-karras": "DPM++ 2M Karras",
    "dpm++2m-sde": "DPM++ 2M SDE",
    "dpm++2m-sde-karras": "DPM++ 2M SDE Karras",
    "unipc": "UniPC",
    "ddim": "DDIM",
    "lcm": "LCM",
    "tcd": "TCD",
}


def versions() -> dict[str, str | None]:
    """Return what a picture's last bits depend on besides its settings.

    The versions of Python, of this project and of its packages, and, once torch is loaded, the number of
    threads that it computes with: sums are rounded in another order by three or more.
    """
    found = {"gspn-studio": project_version(), "python": ".".join(map(str, sys.version_info[:3]))}
    found |= {name: _installed(name) for name in _PACKAGES}
    # While another thread imports it, torch is there in part.
    threads = getattr(sys.modules.get("torch"), "get_num_threads", None)
    return found if threads is None else found | {"threads": str(threads())}


@cache
def project_version() -> str | None:
    """Return this project's version, from the checkout or from the installed package."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    if project.is_file():
        match = re.search(r'^version = "([^"]+)"$', project.read_text("utf-8"), re.MULTILINE)
        if match:
            return match[1]
    return _installed("gspn-studio")


@cache
def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def picture_info(plan: CascadePlan, stage: int, made_with: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the info of a PNG: everything that its pixels depend on. made_with: see `versions`."""
    loras = {lora.name: lora.sha256 for one in plan.stages for lora in one.loras}
    steered = [one.condition.file for one in plan.stages if one.condition is not None]
    controls = {file.name: file.digest for file in steered}
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
        # Only where there are some, so that other pictures keep their bytes.
        **({"loras": loras} if loras else {}),
        **({"controls": controls} if controls else {}),
    }


def parameters_text(info: Mapping[str, Any]) -> str:
    """Return the settings in the text form that other tools read from a PNG's "parameters"."""
    size = info["stages"][info["stage"]]
    stage_px = info["settings"]["target"] * size["width"] // info["stages"][-1]["width"]
    own = Settings.from_dict(info["settings"]).at_stage(stage_px)
    uses = parse_loras(own.loras)
    lines = [" ".join(filter(None, (own.prompt, tags_text(uses))))]
    if own.negative_prompt:
        lines.append(f"Negative prompt: {own.negative_prompt}")
    known = info.get("loras") if isinstance(info.get("loras"), dict) else {}
    hashes = ", ".join(f"{name}: {str(known[name])[:12]}" for name, _ in uses if name in known)
    hashes = f'Lora hashes: "{hashes}", ' if hashes else ""
    denoising = f"Denoising strength: {own.start_strength:g}, " if own.start else ""
    variation = ""
    if own.variation_strength:
        variation = (
            f"Variation seed: {own.variation_seed}, Variation seed strength: {own.variation_strength:g}, "
        )
    lines.append(
        f"Steps: {own.num_inference_steps}, Sampler: {SAMPLERS[own.scheduler]}, "
        f"CFG scale: {own.guidance_scale:g}, Seed: {own.seed}, "
        f"Size: {size['width']}x{size['height']}, {denoising}{variation}Model: {info['model']}, {hashes}"
        f"Version: gspn-studio {info['versions'].get('gspn-studio')}"
    )
    return "\n".join(lines)


def write_png(path: Path, image: Image.Image, info: Mapping[str, Any]) -> None:
    """Write a picture and its info (see `picture_info`); equal input gives equal bytes."""
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
    """Read a picture that this project wrote, as RGB; None if it is gone or damaged."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None


def write_proxy(path: Path, image: Image.Image, max_px: int = PROXY_PX, quality: int = 90) -> None:
    """Write a JPEG with a longer side of at most max_px."""
    with replacing(path) as stream:
        _shrunk(image, max_px).save(stream, "JPEG", quality=quality)


def preview_uri(image: Image.Image, *, quality: int = 80) -> str:
    """Return a small JPEG of the picture as a data URI."""
    buffer = io.BytesIO()
    _shrunk(image, PREVIEW_PX).save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _shrunk(image: Image.Image, max_px: int) -> Image.Image:
    rgb = image.convert("RGB")
    factor = max_px / max(rgb.size)
    if factor >= 1:
        return rgb
    width, height = (max(1, round(side * factor)) for side in rgb.size)
    return rgb.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
