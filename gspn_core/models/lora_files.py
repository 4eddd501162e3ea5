"""The folder of LoRA files: which are there, and whether they were made for a model. Reads headers alone."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from pathlib import Path

from gspn_core.errors import BadSetting, ModelUnavailable
from gspn_core.lora.files import LoraFile
from gspn_core.lora.keys import family_of, is_self_attention, is_text, other_method, pairs_of
from gspn_core.lora.text import is_name
from gspn_core.models.weights import read_header
from gspn_core.planning.types import Shapes

LORAS_FOLDER = Path(__file__).parents[2] / "loras"
MAX_LORA_FILES = 500
_MOST_TENSORS = 100_000
_MOST_HEADER_FILES = 1000
_BAND_BYTES = 1 << 20
_Stamp = tuple[str, int, int]


class LoraFolder:
    """The LoRA files of a model, as they are in a folder and its sub-folders now. Thread-safe.

    Args:
        folder: It need not be there.
        text_channels: Width of the text that the model's UNet reads; None if unknown.
    """

    def __init__(self, folder: Path, text_channels: int | None) -> None:
        self.folder, self._text_channels = folder, text_channels
        self._lock = threading.Lock()
        self._seen: OrderedDict[_Stamp, LoraFile] = OrderedDict()
        self._hashes: dict[_Stamp, tuple[str, str]] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LoraFolder):
            return NotImplemented
        return (self.folder, self._text_channels) == (other.folder, other._text_channels)

    def __hash__(self) -> int:
        return hash((self.folder, self._text_channels))

    def all(self) -> tuple[LoraFile, ...]:
        """Return the files that are there now, sorted by name; of equal names the first path counts."""
        found: dict[str, LoraFile] = {}
        for path in self._paths():
            try:
                file = self._read(path)
            except OSError:
                continue
            if file.name in found:
                continue
            found[file.name] = file
        return tuple(found[name] for name in sorted(found))

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file.

        Raises:
            BadSetting: It is gone.
        """
        return self.hashes(name)[0]

    def hashes(self, name: str) -> tuple[str, str]:
        """Return the SHA-256 of a file and of its tensors without the header, by which other tools name it.

        Raises:
            BadSetting: It is gone.
        """
        try:
            path = next((Path(file.path) for file in self.all() if file.name == name), None)
            if path is None:
                raise FileNotFoundError
            stamp = _stamp(path)
            with self._lock:
                known = self._hashes.get(stamp)
            if known is None:
                known = _hashes(path)
                with self._lock:
                    self._hashes[stamp] = known
            return known
        except OSError:
            raise BadSetting("loras", f"loras: {name} cannot be read; copy the file again.") from None

    def _paths(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        paths = sorted(path for path in self.folder.rglob("*.safetensors") if path.is_file())
        return [path for path in paths if is_name(path.stem)][:MAX_LORA_FILES]

    def _read(self, path: Path) -> LoraFile:
        stamp = _stamp(path)
        with self._lock:
            known = self._seen.get(stamp)
        if known is None:
            known = inspect_lora(path, self._text_channels)
            with self._lock:
                self._seen[stamp] = known
                while len(self._seen) > _MOST_HEADER_FILES:
                    self._seen.popitem(last=False)
        return known


def lora_folder(path: str | None, shapes: Shapes | None) -> LoraFolder:
    """Return the LoRA files of a model. path: of their folder, None for the project's own."""
    folder = LORAS_FOLDER if path is None else Path(path).expanduser()
    return LoraFolder(folder, None if shapes is None else shapes.unet.text_channels)


def inspect_lora(path: Path, text_channels: int | None = None) -> LoraFile:
    """Return the record of a file, with what is wrong with it if it cannot be used.

    Args:
        path: Of the file.
        text_channels: Width of the text that the model's UNet reads; None if unknown.
    """

    def unusable(issue: str) -> LoraFile:
        return LoraFile(name=path.stem, path=str(path), issue=issue)

    try:
        header = read_header(path)
        shapes = {key: _shape(value) for key, value in header.items()}
    except ModelUnavailable:
        return unusable("is damaged")
    except (ValueError, KeyError, TypeError):
        return unusable("is damaged")
    if len(shapes) > _MOST_TENSORS:
        return unusable("has too many tensors")
    method = other_method(shapes)
    if method is not None:
        return unusable(f"is a {method} and not a plain LoRA, the only kind that is read here")
    pairs, _ = pairs_of(shapes)
    if not pairs:
        return unusable("holds no LoRA")
    family, width = family_of(pairs)
    known = width is not None and width == text_channels
    if family and not known and (width is None or text_channels is not None):
        return unusable(f"is a LoRA of {family}")
    unet = {layer: pair for layer, pair in pairs.items() if not is_text(layer)}
    in_self = sum(pair.numbers for layer, pair in unet.items() if is_self_attention(layer))
    return LoraFile(
        name=path.stem,
        path=str(path),
        layers=len(pairs),
        numbers=sum(pair.numbers for pair in unet.values()) - in_self,
        self_attention_numbers=in_self,
    )


def _shape(entry: object) -> tuple[int, ...]:
    shape = entry["shape"]
    if not isinstance(shape, list) or len(shape) > 8:
        raise ValueError("shape")
    if not all(type(side) is int and 0 <= side < 2**32 for side in shape):
        raise ValueError("shape")
    return tuple(shape)


def _stamp(path: Path) -> _Stamp:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns


def _hashes(path: Path) -> tuple[str, str]:
    whole, tensors = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as stream:
        first = stream.read(8)
        head = stream.read(min(int.from_bytes(first, "little"), path.stat().st_size))
        whole.update(first + head)
        while band := stream.read(_BAND_BYTES):
            whole.update(band)
            tensors.update(band)
    return whole.hexdigest(), tensors.hexdigest()
