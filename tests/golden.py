"""Check whether a change of the code changed pictures or cache keys, by small runs on the CPU.

`python -m tests.golden record FILE` before a change, `python -m tests.golden compare FILE` after it, on one
machine. `compare` lists the differences and exits with 1 if there are any. Runs: `tests.golden_cases`.

The last bits of a picture depend on how numba's kernels were linked: the process that compiles them links
them differently from one that reads them from the cache. So every recording starts with an empty cache; one
process fills it, and a second one makes the pictures and compiles nothing. Files get fixed times, since
models' fingerprints include them: a checkout elsewhere or at another time changes no key.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from tests.golden_cases import BOTH, CASES, COMMON, PROMPTS, SINGLE, TARGETS, TINY, WORLD, Case

if TYPE_CHECKING:
    from PIL.Image import Image

    from gspn_core.backbones.model import Model
    from gspn_core.events import Event

ROOT = Path(__file__).parents[1]
FORMAT = 1
THREADS = 2
# More than any plan of these cases needs, so that free memory does not matter.
PLENTY_BYTES = 1 << 40
FIXED_TIME = 1_600_000_000
# How often a recording that had to compile something is made again.
TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folders of one recording, all below one that is removed afterwards."""

    root: Path

    @property
    def kernels(self) -> Path:
        """Return where numba keeps what it compiled."""
        return self.root / "kernels"

    def model(self, name: str) -> Path:
        """Return the folder of a model or of an extra."""
        return self.root / name

    def compiled(self) -> set[str]:
        """Return the names of all files of compiled kernels."""
        return {path.name for path in self.kernels.rglob("*.nbc")}


def run_case(
    model: Model, case: Case, dtype: str, settings: Mapping[str, Any], finished: Sequence[Image] = ()
) -> tuple[list[dict[str, Any]], list[Image]]:
    """Run a case once; return the record of its stages, and their pictures.

    finished: the pictures of the first stages, which are left out of the record.
    """
    driven = _Driven(case.runs_out)
    plan, images = None, {}
    for event in driven.follow(_events(model, case, dtype, settings, driven, finished)):
        plan = getattr(event, "plan", plan)
        if hasattr(event, "image"):
            images[event.stage.index] = event.image
    answer = [
        {
            "size": f"{stage.size.width}x{stage.size.height}",
            "key": stage.key,
            "picture": picture_hash(images[stage.index]),
            "ways": sorted(stage.choices.taken),
        }
        for stage in plan.stages
        if stage.index in images
    ]
    missing = set(case.ways) - set(answer[-1]["ways"])
    if missing:
        taken = answer[-1]["ways"]
        sys.exit(f"{case.name} in {dtype} took {taken}, not {sorted(missing)}; change its memory.")
    return answer, list(images.values())


def _events(
    model: Model,
    case: Case,
    dtype: str,
    settings: Mapping[str, Any],
    driven: _Driven,
    finished: Sequence[Image],
) -> Iterator[Event]:
    """Return the events of a run. The one place that calls the engine."""
    from gspn_core.engine import Engine
    from gspn_core.settings import Settings

    memory = PLENTY_BYTES
    if dtype in case.room_mib:
        memory = Engine(model).machine.base_bytes + case.room_mib[dtype] * 2**20
    engine = Engine(model, memory_bytes=memory)
    return engine.run(
        engine.plan(Settings(**settings)),
        driven.should_stop,
        previews=False,
        finished=finished,
        start=start_picture() if case.starts else None,
    )


class _Driven:
    """Lets memory run out `runs_out` times during a run, each time after a step; the stage then restarts."""

    def __init__(self, runs_out: int) -> None:
        self._left, self._is_due = runs_out, False

    def follow(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yield the events, and let memory run out after the next step."""
        for event in events:
            self._is_due = self._left > 0 and type(event).__name__ == "StepDone"
            yield event

    def should_stop(self) -> bool:
        """Return False, or raise MemoryError where it is due."""
        if self._is_due:
            self._is_due, self._left = False, self._left - 1
            raise MemoryError
        return False


def record_case(model: Model, case: Case, dtype: str) -> list[dict[str, Any]]:
    """Return the record of a case: of each stage its size, key, picture hash and memory options."""
    asked = {"prompt": PROMPTS[case.model], "target": TARGETS[case.model], **COMMON, **case.settings}
    if case.starts:
        from gspn_core.images.load import reference_of

        asked["start"] = reference_of(start_picture())
    answer, images = run_case(model, case, dtype, asked)
    if not case.finished:
        return answer
    return answer + run_case(model, case, dtype, asked, images[: case.finished])[0]


def picture_hash(image: Image) -> str:
    """Return the SHA-256 of a picture's RGB bytes."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def start_picture() -> Image:
    """Return the init image: a portrait of coarse colours, the same on every machine."""
    import numpy as np
    from PIL import Image

    height, width = np.mgrid[0:12, 0:9]
    colours = np.stack([height * 20, width * 27, (height * width * 37) % 256], axis=-1).astype(np.uint8)
    return Image.fromarray(colours, "RGB").resize((270, 360), Image.Resampling.BICUBIC)


def record_all(place: Place, names: Sequence[str] = ()) -> dict[str, Any]:
    """Run the cases in this process, one load of a model per dtype, and return the record.

    names: the cases to run; all if empty.
    """
    import torch

    torch.set_num_threads(THREADS)
    dtypes, found = usable_dtypes(), {}
    for dtype in dtypes:
        for name in (WORLD, TINY):
            model = load(place, name, dtype)
            for case in CASES:
                if case.model == name and dtype in case.dtypes and (not names or case.name in names):
                    began = time.perf_counter()
                    found[f"{dtype} {name} {case.name}"] = record_case(model, case, dtype)
                    sys.stderr.write(f"{time.perf_counter() - began:6.2f} s  {dtype} {name} {case.name}\n")
            del model
            gc.collect()
    machine = {
        "dtypes": list(dtypes),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "threads": THREADS,
    }
    return {"format": FORMAT, "machine": machine, "cases": found}


def usable_dtypes() -> tuple[str, ...]:
    """Return float32, and bfloat16 where the CPU has instructions for it."""
    import torch

    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    has_half = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return BOTH if has_half else SINGLE


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def load(place: Place, name: str, dtype: str) -> Model:
    """Return a model on the CPU, from the files with fixed times.

    Its fingerprint is fixed too: rewriting a report in the model's folder changes no picture.
    """
    from gspn_core.models import catalog
    from gspn_core.models.loading import load_model

    options = {"device": "cpu", "dtype": dtype, "memory_bytes": PLENTY_BYTES}
    with mock.patch.object(catalog, "WORLD_FOLDER", place.model(WORLD)):
        if name == WORLD:
            model = load_model(WORLD, **options)
        else:
            extras = catalog.Extras(refiner=str(place.model("refiner")))
            model = load_model(str(place.model(TINY)), extras=extras, **options)
    return dataclasses.replace(model, card=dataclasses.replace(model.card, fingerprint=name))


def write_models(place: Place) -> None:
    """Copy the embedded model and write one of random weights with a refiner and a linear mixer."""
    import torch

    from gspn_core.attention.linear_adapter import LinearAdapter
    from gspn_core.models.catalog import ADAPTER_FOLDERS, WORLD_FOLDER
    from gspn_core.models.random_weights import write_random_model, write_random_refiner

    shutil.copytree(WORLD_FOLDER, place.model(WORLD))
    write_random_model(place.model(TINY), "small")
    write_random_refiner(place.model("refiner"), "small")
    unet = load(place, TINY, "float32").pipeline.unet
    torch.manual_seed(1)
    LinearAdapter.construct_for(unet).save(place.model(TINY) / ADAPTER_FOLDERS["linear"])
    for folder in (WORLD, TINY, "refiner"):
        for path in place.model(folder).rglob("*"):
            os.utime(path, (FIXED_TIME, FIXED_TIME))


def prepare(place: Place) -> None:
    """Write the models and compile what the cases need; this process makes no record."""
    write_models(place)
    record_all(place, ("mixer-gspn", "memory-runs-out-gspn"))


def recorded() -> dict[str, Any]:
    """Return a record made by a process that compiled nothing, with its own models and kernel cache."""
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        place, result = Place(root=Path(folder)), Path(folder) / "record.json"
        _apart("prepare", place)
        for _ in range(TRIES):
            before = place.compiled()
            _apart("measure", place, str(result))
            if place.compiled() == before:
                return json.loads(result.read_text("utf-8"))
    sys.exit("kernels were compiled in every process; no record is reliable.")


def _apart(doing: str, place: Place, *rest: str) -> None:
    """Run one part of the work in a separate process."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))
    own = {"NUMBA_CACHE_DIR": str(place.kernels), "CUDA_VISIBLE_DEVICES": "", **threads}
    command = [sys.executable, "-m", "tests.golden", doing, *rest, "--place", str(place.root)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **own}, check=False)
    if done.returncode:
        sys.exit(f"to {doing} failed with {done.returncode}.")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return a line for each difference between two records' cases; none where they are equal."""
    lines = []
    for name in sorted({*before["cases"], *after["cases"]}):
        old, new = before["cases"].get(name), after["cases"].get(name)
        if old is None or new is None:
            lines.append(f"{name}: only in the {'new' if old is None else 'old'} record")
            continue
        if len(old) != len(new):
            lines.append(f"{name}: {len(old)} stages before, {len(new)} after")
        for number, (one, other) in enumerate(zip(old, new, strict=False), start=1):
            changed = [part for part in sorted({*one, *other}) if one.get(part) != other.get(part)]
            if changed:
                lines.append(f"{name}, stage {number} of {one.get('size')}: {', '.join(changed)}")
    return lines


def machine_notes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return a line for each difference between two records' machines; any may change every picture."""
    old, new = before["machine"], after["machine"]
    return [
        f"note: {name} was {old.get(name)} and is {new.get(name)}, which may change every picture"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__.splitlines()[0])
    parser.add_argument(
        "doing", choices=("record", "compare", "prepare", "measure"), metavar="record|compare"
    )
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.doing != "prepare" and asked.file is None:
        parser.error("name the file")
    if (asked.place is None) == (asked.doing in ("prepare", "measure")):
        parser.error("choose record or compare")
    if asked.doing == "prepare":
        prepare(Place(root=asked.place))
    elif asked.doing == "measure":
        asked.file.write_text(json.dumps(record_all(Place(root=asked.place))), "utf-8")
    elif asked.doing == "record":
        record = recorded()
        asked.file.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        _say(f"{asked.file}: {len(record['cases'])} cases")
    else:
        before = json.loads(asked.file.read_text("utf-8"))
        if before.get("format") != FORMAT:
            parser.error(f"{asked.file} is not a record of format {FORMAT}")
        after = recorded()
        lines = differences(before, after)
        _say(*machine_notes(before, after), *lines)
        _say(f"{len(after['cases'])} cases, {len(lines)} differences")
        return int(bool(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
