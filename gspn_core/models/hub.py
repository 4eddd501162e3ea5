"""Files of public models: whether they are cached, and fetching them with progress. Imports no torch.

A file is fetched by its name at a fixed revision; what is not listed here is never fetched.
"""

from __future__ import annotations

import dataclasses
import errno
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gspn_core.errors import ModelUnavailable, Stopped

# Called with the bytes that are here and the total; raises Stopped to cancel.
OnBytes = Callable[[int, int], None]

_SDXL_TEXT = (
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/special_tokens_map.json",
)
_SPARE_BYTES = 200_000_000
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Files of a repository at one revision.

    Args:
        name: As the command line takes it.
        repo: The repository on the Hub.
        revision: A commit, or a branch where no commit is known.
        files: Their paths in the repository.
        gigabytes: About how much they are.
    """

    name: str
    repo: str
    revision: str
    files: tuple[str, ...]
    gigabytes: float

    @property
    def is_fixed(self) -> bool:
        """Return whether the revision is a commit, at which files never change."""
        return _COMMIT.fullmatch(self.revision) is not None


SDXL = Snapshot(
    name="sdxl",
    repo="stabilityai/stable-diffusion-xl-base-1.0",
    revision="462165984030d82259a11f4367a4eed129e94a7b",
    files=(
        "model_index.json",
        "scheduler/scheduler_config.json",
        *_SDXL_TEXT,
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/config.json",
        "text_encoder_2/model.fp16.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ),
    gigabytes=6.9,
)
SDXL_TOKENIZERS = Snapshot(
    name="sdxl tokenizers", repo=SDXL.repo, revision=SDXL.revision, files=_SDXL_TEXT, gigabytes=0.004
)
_MODEL_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
# Extras by the name that the command line takes.
EXTRAS: Mapping[str, Snapshot] = MappingProxyType(
    {
        snapshot.name: snapshot
        for snapshot in (
            Snapshot(
                name="sdxl-vae-fp16-fix",
                repo="madebyollin/sdxl-vae-fp16-fix",
                revision="207b116dae70ace3637169f1ddd2434b91b3a8cd",
                files=_MODEL_FILES,
                gigabytes=0.34,
            ),
            Snapshot(
                name="sdxl-refiner",
                repo="stabilityai/stable-diffusion-xl-refiner-1.0",
                revision="5d4cfe854c9a9a87939ff3653551c2b3c99a4356",
                files=("unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors"),
                gigabytes=4.5,
            ),
            Snapshot(
                name="x4-upscaler",
                repo="stabilityai/stable-diffusion-x4-upscaler",
                revision="572c99286543a273bfd17fac263db5a77be12c4c",
                files=(
                    "model_index.json",
                    "scheduler/scheduler_config.json",
                    "low_res_scheduler/scheduler_config.json",
                    *(name for name in _SDXL_TEXT if name.startswith("tokenizer/")),
                    "text_encoder/config.json",
                    "text_encoder/model.safetensors",
                    "unet/config.json",
                    "unet/diffusion_pytorch_model.safetensors",
                    "vae/config.json",
                    "vae/diffusion_pytorch_model.safetensors",
                ),
                gigabytes=3.5,
            ),
            # No fixed revision of these two is known to this project.
            Snapshot(
                name="taesdxl",
                repo="madebyollin/taesdxl",
                revision="main",
                files=_MODEL_FILES,
                gigabytes=0.01,
            ),
            Snapshot(
                name="linfusion-xl",
                repo="Yuanshi/LinFusion-XL",
                revision="main",
                files=_MODEL_FILES,
                gigabytes=0.3,
            ),
        )
    }
)


def find_extra(name: str) -> Snapshot | None:
    """Return an extra by its name, or by "name@commit" at that commit; None if the name is unknown.

    Raises:
        ModelUnavailable: What follows the @ is not a commit.
    """
    plain, at, commit = name.partition("@")
    snapshot = EXTRAS.get(plain)
    if snapshot is None or not at:
        return snapshot
    if not _COMMIT.fullmatch(commit):
        raise ModelUnavailable(
            f"{plain}@ takes a commit of 40 hexadecimal digits, got {commit[:48]!r}; give one, or {plain} "
            "alone."
        )
    return dataclasses.replace(snapshot, revision=commit)


def commit_of(snapshot: Snapshot, *, cache: Path | None = None) -> str | None:
    """Return the commit that a snapshot is or was fetched at, None if it is neither cached nor fixed."""
    if snapshot.is_fixed:
        return snapshot.revision
    folder = cached_folder(snapshot, cache=cache)
    return folder.name if folder is not None and _COMMIT.fullmatch(folder.name) else None


def signature(snapshot: Snapshot) -> str:
    """Return a name that no other snapshot has: the repository at its commit."""
    return f"{snapshot.repo}@{commit_of(snapshot) or snapshot.revision}"


def cached_folder(snapshot: Snapshot, *, cache: Path | None = None) -> Path | None:
    """Return the folder of a snapshot if all its files are cached, else None; cache None is the Hub's own."""
    from huggingface_hub import try_to_load_from_cache

    first: Path | None = None
    for name in snapshot.files:
        found = try_to_load_from_cache(snapshot.repo, name, cache_dir=cache, revision=snapshot.revision)
        if not isinstance(found, str) or not Path(found).is_file():
            return None
        first = first or Path(found).parents[len(Path(name).parts) - 1]
    return first


def fetch(
    snapshot: Snapshot,
    on_bytes: OnBytes = lambda _done, _total: None,
    *,
    cache: Path | None = None,
    endpoint: str = "",
) -> Path:
    """Return the folder of a snapshot, fetching what is missing.

    Args:
        snapshot: The files.
        on_bytes: Called as bytes arrive; may raise Stopped.
        cache: Where files are kept; None is the Hub's own cache.
        endpoint: The Hub's address; "" is its own.

    Raises:
        ModelUnavailable: They cannot be fetched, with the reason and a remedy.
    """
    found = cached_folder(snapshot, cache=cache)
    if found is not None:
        return found
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE

    where = cache or Path(HF_HUB_CACHE)
    try:
        api = HfApi(endpoint=endpoint or None)
        listed = api.get_paths_info(snapshot.repo, list(snapshot.files), revision=snapshot.revision)
        sizes = {entry.path: entry.size for entry in listed}
        missing = [name for name in snapshot.files if name not in sizes]
        if missing:
            raise ModelUnavailable(
                f"{snapshot.repo} has no {missing[0]} at {snapshot.revision[:12]}; give a local folder."
            )
        _leave_room(snapshot, where, sum(sizes.values()))
        bar = _bar(on_bytes, sum(sizes.values()))
        for name in snapshot.files:
            api.hf_hub_download(
                snapshot.repo, name, revision=snapshot.revision, cache_dir=where, tqdm_class=bar
            )
            bar.finish_file(sizes[name])
    except (ModelUnavailable, Stopped):
        raise
    except Exception as error:
        raise ModelUnavailable(_why_not(snapshot, where, error)) from error
    folder = cached_folder(snapshot, cache=cache)
    if folder is None:
        raise ModelUnavailable(
            f"{snapshot.repo} was fetched but is incomplete in {where}; remove its folder and try again."
        )
    return folder


def _leave_room(snapshot: Snapshot, where: Path, wanted: int) -> None:
    there = next(path for path in (where, *where.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < wanted + _SPARE_BYTES:
        raise ModelUnavailable(
            f"{snapshot.name} needs {wanted / 1e9:.1f} GB and the disk of {where} has {free / 1e9:.1f} GB "
            "free; make room, or set HF_HOME to a folder on a larger disk."
        )


def _bar(on_bytes: OnBytes, total: int) -> Any:
    """Return a class with tqdm's interface that reports the bytes of all files together."""

    class Bar:
        finished = 0
        current = 0

        def __init__(self, *_: Any, initial: int = 0, **__: Any) -> None:
            Bar.current = initial

        @classmethod
        def finish_file(cls, size: int) -> None:
            cls.finished, cls.current = cls.finished + size, 0
            on_bytes(min(cls.finished, total), total)

        def update(self, count: float | None = 1) -> None:
            Bar.current += int(count or 0)
            on_bytes(min(Bar.finished + Bar.current, total), total)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __getattr__(self, _name: str) -> Callable[..., None]:
            return lambda *_, **__: None

    return Bar


def _why_not(snapshot: Snapshot, where: Path, error: Exception) -> str:
    """Return in one sentence why a snapshot could not be fetched, and what to do."""
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

    repo, rest = snapshot.repo, "or give a local SDXL folder with --model"
    status = getattr(getattr(error, "response", None), "status_code", None)
    number = getattr(error, "errno", None)
    if isinstance(error, GatedRepoError) or status == 403:
        return f"{repo} is gated: accept its terms on its page and log in with `hf auth login`, {rest}."
    if status == 401:
        return f"the Hub refused {repo} (401): its token is wrong or revoked; use `hf auth login`, {rest}."
    if isinstance(error, RevisionNotFoundError) or status == 404:
        return f"{repo} has no revision {snapshot.revision[:12]}, or is gone; {rest[3:]}."
    if number == errno.ENOSPC:
        return f"the disk of {where} is full; make room, or set HF_HOME to a folder on a larger disk."
    if number in (errno.EACCES, errno.EROFS):
        return f"{where} cannot be written; set HF_HOME to a folder of yours."
    kind = f"{status}" if status else type(error).__name__
    return (
        f"{repo} ({snapshot.gigabytes:g} GB) is not on this machine and cannot be fetched ({kind}); "
        f"connect to the network, {rest}."
    )
