"""Tell whether a change of the code changed pictures or cache keys, by small runs on the CPU.

`python -m tests.golden record FILE` before a change, `python -m tests.golden compare FILE` after it, on one
machine. compare lists what differs and exits with 1 where anything does.

The last bits of a picture depend on how numba's kernels came about: the process that compiles them links
them otherwise than one that reads them from the cache. So every recording begins with an empty cache, which
one process fills, and another one makes the pictures and compiles nothing. Files get fixed times, as the
models' fingerprints hold them: neither a checkout elsewhere nor a later one changes a key.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from PIL.Image import Image

    from gspn_core.backbones.model import Model
    from gspn_core.events import Event

ROOT = Path(__file__).parents[1]
FORMAT = 1
THREADS = 2
# No plan of these cases needs as much, so what happens to be free has no say.
PLENTY_BYTES = 1 << 40
FIXED_TIME = 1_600_000_000
# How often a recording that had to compile something is made again.
TRIES = 3

WORLD, TINY = "world", "tiny"
BOTH, SINGLE = ("float32", "bfloat16"), ("float32",)
COMMON: Mapping[str, Any] = {"seed": 7, "num_inference_steps": 2}
PROMPTS = {
    WORLD: "snowy mountains over a lake at dusk, a few clouds, low sun",
    TINY: "a red fox in deep snow",
}
TARGETS = {WORLD: 512, TINY: 128}
SAMPLERS = (
    "euler",
    "euler-karras",
    "dpm++2m",
    "dpm++2m-karras",
    "dpm++2m-sde",
    "dpm++2m-sde-karras",
    "unipc",
    "ddim",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run.

    settings: beside the common ones. starts: it climbs from a picture. finished: how many of its first
    stages are handed in as pictures, made by the same run. room_mib: memory of a stage beside what the
    process takes, in MiB, for single dtypes; where none is given there is plenty. runs_out: how often memory
    runs out after a step. ways: what the last stage must have come to because of that.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str = WORLD
    dtypes: Sequence[str] = SINGLE
    starts: bool = False
    finished: int = 0
    room_mib: Mapping[str, int] = field(default_factory=dict)
    runs_out: int = 0
    ways: tuple[str, ...] = ()


def _world(name: str, *, dtypes: Sequence[str] = SINGLE, **settings: Any) -> Case:
    return Case(name=name, settings=settings, dtypes=dtypes)


def _tiny(name: str, **settings: Any) -> Case:
    return Case(name=name, settings=settings, model=TINY, dtypes=BOTH)


DILATED = {"cosine_scale_2": 0.15, "upscale_strength": 0.6, "num_inference_steps": 3}
CASES: tuple[Case, ...] = (
    *(_world(f"mixer-{name}", mixer=name, dtypes=BOTH) for name in ("gspn", "attention", "neighborhood")),
    *(
        _world(f"sampler-{name}", mixer="attention", scheduler=name, num_inference_steps=3)
        for name in SAMPLERS
    ),
    _world("base-alone", target=256),
    _world("ladder-jump", target=1024, ladder="256 1024"),
    _world("ladder-doublings", target=1024, ladder="256 512 1024"),
    _world("keep-base-0", keep_base=0.0, mixer="attention"),
    _world("keep-base-half", keep_base=0.5, mixer="attention"),
    _world("dilation-down", **DILATED, dtypes=BOTH),
    _world("dilation-deep", **DILATED, dilation_scope="deep"),
    _world("dilation-all", **DILATED, dilation_scope="all"),
    _world("dilation-main", **DILATED, dilation_use="main", dilation_until=0.5),
    _world("dilation-neighborhood", **DILATED, mixer="neighborhood", dtypes=BOTH),
    _world("dilation-least-weight", num_inference_steps=3, cosine_scale_2=1.0, dilated_min_weight=0.3),
    _world(
        "holds", gaussian_sigma=2.0, cosine_scale_1=0.5, cosine_scale_3=1.0, upscale_strength=0.7, dtypes=BOTH
    ),
    _world("holds-none", gaussian_sigma=0.0, cosine_scale_1=3.0, mixer="attention"),
    _world("negative", negative_prompt="clouds, fog", mixer="attention"),
    _world("guidance-1", guidance_scale=1.0, dtypes=BOTH),
    _world("guidance-8", guidance_scale=8.0, mixer="attention"),
    _world("guidance-stop", guidance_stop=0.5, num_inference_steps=3, mixer="attention"),
    _world("portrait", aspect="2:3"),
    _world("landscape", aspect="16:9", target=256, mixer="neighborhood"),
    _world("size-conditioning", original_scale=0.5, target_scale=2.0, crop_top=64, crop_left=8, target=256),
    _world("override-many", overrides="512.mixer=attention\n512.scheduler=euler\n512.seed=3"),
    _world(
        "override-prompt",
        mixer="attention",
        overrides="256.guidance_scale=1\n512.prompt=a beach at sunset\n512.num_inference_steps=5",
    ),
    Case(name="start-kept", starts=True),
    Case(name="start-redrawn", starts=True, settings={"start_strength": 0.5}, dtypes=BOTH),
    Case(name="start-redrawn-alone", starts=True, settings={"start_strength": 0.9, "target": 256}),
    Case(name="start-at-512", starts=True, settings={"start_px": 512, "start_strength": 0.5}),
    Case(name="finished-base", finished=1),
    Case(name="memory-tiles", room_mib={"float32": 180, "bfloat16": 125}, ways=("small_tiles",), dtypes=BOTH),
    Case(
        name="memory-eight-bits",
        room_mib={"float32": 95},
        ways=("serial_guidance", "chunked_feed_forward", "small_blocks", "small_tiles", "float8_storage"),
    ),
    *(
        Case(
            name=f"memory-runs-out-{mixer}",
            settings={"mixer": mixer},
            dtypes=BOTH,
            runs_out=3,
            ways=("serial_guidance", "chunked_feed_forward", "small_blocks"),
        )
        for mixer in ("gspn", "neighborhood")
    ),
    Case(
        name="memory-runs-out-attention",
        settings={"mixer": "attention"},
        runs_out=2,
        ways=("serial_guidance", "chunked_feed_forward"),
    ),
    *(_tiny(f"mixer-{name}", mixer=name) for name in ("attention", "neighborhood", "linear")),
    _tiny("refiner-ensemble", refiner="ensemble", refiner_start=0.5),
    _tiny("refiner-image", refiner="image", refiner_start=0.4, negative_prompt="a cat"),
    _tiny("refiner-score", refiner="ensemble", refiner_start=0.3, aesthetic_score=3.0, guidance_scale=1.0),
    _tiny("refiner-image-linear", refiner="image", refiner_start=0.5, mixer="linear", aspect="2:3"),
    _tiny("empty-negative", guidance_scale=9.0, target=256, ladder="64 256"),
    Case(
        name="refiner-redraws",
        model=TINY,
        dtypes=BOTH,
        starts=True,
        settings={"refiner": "image", "refiner_start": 0.5, "start_strength": 0.6},
    ),
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folders of one recording, all of them below one that is removed after it."""

    root: Path

    @property
    def kernels(self) -> Path:
        """Return where numba keeps what it compiled."""
        return self.root / "kernels"

    def model(self, name: str) -> Path:
        """Return where a model lies, or what goes beside it."""
        return self.root / name

    def compiled(self) -> set[str]:
        """Return the names of all files of compiled kernels."""
        return {path.name for path in self.kernels.rglob("*.nbc")}


def run_case(
    model: Model, case: Case, dtype: str, settings: Mapping[str, Any], finished: Sequence[Image] = ()
) -> tuple[list[dict[str, Any]], list[Image]]:
    """Run a case once; return what is answer of its stages, and their pictures.

    finished: the pictures of the first stages, whose places stay empty among the stages answer.
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
    """Lets memory run out in a run: after a step, as often as asked, each time the stage begins again."""

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
    """Return what is to be kept of a case: of each stage its size, key, picture and ways of computing."""
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
    """Return a portrait of coarse colours, the same everywhere, that runs start from."""
    import numpy as np
    from PIL import Image

    height, width = np.mgrid[0:12, 0:9]
    colours = np.stack([height * 20, width * 27, (height * width * 37) % 256], axis=-1).astype(np.uint8)
    return Image.fromarray(colours, "RGB").resize((270, 360), Image.Resampling.BICUBIC)


def record_all(place: Place, names: Sequence[str] = ()) -> dict[str, Any]:
    """Run the cases in this process, one load of a model per dtype, and return what is to be kept.

    names: of the cases to run; all where there are none.
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

    Its fingerprint is fixed too: a report that was rewritten in the model's folder is no change of a picture.
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
    """Write the models and compile what the cases need, in this process, which makes no record."""
    write_models(place)
    record_all(place, ("mixer-gspn", "memory-runs-out-gspn"))


def recorded() -> dict[str, Any]:
    """Return a record made by a process that compiled nothing, of models and kernels made for it alone."""
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
    """Run one part of the work in a process of its own."""
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
    """Return a line for each thing by which the machines of two records differ, and with it all pictures."""
    old, new = before["machine"], after["machine"]
    return [
        f"note: {name} was {old.get(name)} and is {new.get(name)}, which may change every picture"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
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
            parser.error(f"{asked.file} is no record of format {FORMAT}")
        after = recorded()
        lines = differences(before, after)
        _say(*machine_notes(before, after), *lines)
        _say(f"{len(after['cases'])} cases, {len(lines)} differences")
        return int(bool(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
