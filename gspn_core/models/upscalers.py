"""The upscaler models of a folder (`--upscalers`), known by the headers of their files. Loads no weights."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import re
from collections.abc import Mapping
from pathlib import Path

from gspn_core.errors import ModelUnavailable
from gspn_core.models.weights import PICKLED, count_of, read_header
from gspn_core.planning.upscalers import UpscalerFile

_SUFFIX = ".safetensors"
# Prefixes that training programs leave before every name.
_PREFIXES = ("module.", "netG.")
# Layers of an RRDBNet that work at a finer size, as the two published layouts name them.
_FINER = re.compile(r"(?:upconv|conv_up)(\d)\.weight")
_AT_THE_END = ("HRconv.weight", "conv_hr.weight", "conv_last.weight")
_BODY = re.compile(r"body\.(\d+)\.weight")
_OLD = re.compile(r"model\.(\d+)\.weight")
# Maps of features alive at the peak of a dense block, of the enlarged features, and of a compact network.
# Measured on a CPU: 18.8 kB for each px of the small picture with 64 features at 4 times, 1.1 kB compact.
_DENSE_MAPS, _FINE_MAPS, _COMPACT_MAPS = 12, 5, 4

Shapes = Mapping[str, tuple[int, ...]]


def find_upscalers(folder: str) -> tuple[dict[str, Path], tuple[UpscalerFile, ...], tuple[str, ...]]:
    """Return the files of a folder by name, what is known of each, and a sentence for each other file.

    Raises:
        ModelUnavailable: spandrel is not installed, or there is no model of the ESRGAN family.
    """
    if importlib.util.find_spec("spandrel") is None:
        raise ModelUnavailable(
            "upscaler models need the package spandrel, which is not installed; install it with `pip install "
            "--no-deps spandrel einops`, or start without --upscalers."
        )
    where = Path(folder).expanduser()
    if not where.is_dir():
        raise ModelUnavailable(f"{where} is not a folder; give one with --upscalers.")
    files: dict[str, Path] = {}
    found: list[UpscalerFile] = []
    others: list[str] = []
    for path in sorted(where.iterdir()):
        if path.suffix.lower() in PICKLED:
            others.append(
                f"{path.name} is a pickled file, which can hold a program and is never loaded; save its "
                "weights as .safetensors."
            )
        elif path.suffix.lower() == _SUFFIX:
            read = _read(path)
            if isinstance(read, str):
                others.append(read)
            else:
                files[read.name] = path
                found.append(read)
    if not found:
        reason = f"; {others[0]}" if others else ", as .safetensors."
        raise ModelUnavailable(f"{where} holds no upscaler model of the ESRGAN family{reason}")
    return files, tuple(found), tuple(others)


def _read(path: Path) -> UpscalerFile | str:
    """Return what is known of a file, or in a sentence why it is left out."""
    try:
        header = read_header(path)
    except ModelUnavailable as error:
        return str(error)
    shapes = {key: tuple(value["shape"]) for key, value in header.items()}
    for prefix in _PREFIXES:
        if shapes and all(key.startswith(prefix) for key in shapes):
            shapes = {key.removeprefix(prefix): shape for key, shape in shapes.items()}
    known = _rrdb(shapes) or _compact(shapes)
    if known is None:
        return f"{path.name} is not an upscaler model of the ESRGAN family; it is left out."
    scale, px_elements, px_operations = known
    return UpscalerFile(
        name=path.stem,
        digest=_digest(path),
        scale=scale,
        parameters=count_of(header),
        px_elements=px_elements,
        px_operations=px_operations,
    )


def _rrdb(shapes: Shapes) -> tuple[int, int, float] | None:
    """Return scale, elements and operations per px of an RRDBNet (ESRGAN, Real-ESRGAN; 1809.00219)."""
    if "conv_first.weight" in shapes and "conv_last.weight" in shapes:
        first, last = shapes["conv_first.weight"], shapes["conv_last.weight"]
        finer = {int(match[1]) for match in map(_FINER.fullmatch, shapes) if match}
        enlargements = max(finer, default=0)
        ends = dict.fromkeys(_AT_THE_END, 2**enlargements)
        sizes = {name: 2 ** int(m[1]) for name in shapes if (m := _FINER.fullmatch(name))} | ends
    elif "model.0.weight" in shapes and any(name.startswith("model.1.sub.0.RDB1.") for name in shapes):
        order = sorted(int(match[1]) for match in map(_OLD.fullmatch, shapes) if match)
        enlargements = (order[-1] + 1 - 5) // 3
        first, last = shapes["model.0.weight"], shapes[f"model.{order[-1]}.weight"]
        sizes = {f"model.{at}.weight": 2 ** min(enlargements, at // 3) for at in order}
    else:
        return None
    if len(first) != 4 or len(last) != 4 or last[0] != 3 or enlargements < 0:
        return None
    shuffle = math.isqrt(first[1] // 3)
    if first[1] != 3 * shuffle**2 or 2**enlargements % shuffle:
        return None
    operations = sum(
        2.0 * math.prod(shape) * sizes.get(name, 1) ** 2 for name, shape in shapes.items() if len(shape) == 4
    )
    elements = first[0] * max(_DENSE_MAPS, _FINE_MAPS * 4**enlargements)
    return 2**enlargements // shuffle, -(-elements // shuffle**2), operations / shuffle**2


def _compact(shapes: Shapes) -> tuple[int, int, float] | None:
    """Return the same of a compact network of Real-ESRGAN (SRVGGNetCompact; 2107.10833)."""
    order = sorted(int(match[1]) for match in map(_BODY.fullmatch, shapes) if match)
    if len(order) < 3 or order[:2] != [0, 1]:
        return None
    first, last = shapes["body.0.weight"], shapes[f"body.{order[-1]}.weight"]
    scale = math.isqrt(last[0] // 3)
    if len(first) != 4 or len(last) != 4 or first[1] != 3 or last[0] != 3 * scale**2 or scale < 1:
        return None
    operations = sum(2.0 * math.prod(shape) for shape in shapes.values() if len(shape) == 4)
    return scale, _COMPACT_MAPS * first[0] + 3 * 3 * scale**2, operations


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()[:32]
