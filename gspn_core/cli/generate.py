"""`python -m gspn_core "a prompt" --out DIR`: one run from the command line, each stage written when done.

Exit codes: 0 done, 1 failed otherwise, 2 a bad setting or argument, 3 the model is unavailable, 4 out of
memory, 5 cannot write, 130 interrupted (finished stages stay written).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
import time
import types
import typing
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from PIL.Image import Image

from gspn_core.errors import AdapterMismatch, BadSetting, GspnError, ModelUnavailable, OutOfMemory, Stopped
from gspn_core.events import Event, ModelProgress, PlanReady, StageDone, StepDone
from gspn_core.files import write_failure
from gspn_core.images.load import read_file, reference_of
from gspn_core.images.png import picture_info, versions, write_png, write_proxy, write_sidecar
from gspn_core.images.png_text import read_png
from gspn_core.models.catalog import Extras, find_card
from gspn_core.models.options import add_model_options, extras_of
from gspn_core.planning.types import CascadePlan
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import Ended, RunView
from gspn_core.runs.terminal import Progress
from gspn_core.settings import CHOICES, FIELD_NAMES, RANGES, Settings

DONE, FAILED, USAGE, NO_MODEL, NO_MEMORY, NOT_WRITTEN, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


class Runner(Protocol):
    """What the command needs of an engine."""

    def plan(self, settings: Settings) -> CascadePlan:
        """Return what a run of these settings does; raise BadSetting."""

    def run(
        self, plan: CascadePlan, should_stop: Callable[[], bool], *, previews: bool, start: Image = ...
    ) -> Generator[Event, None, None]:
        """Yield a run's events."""


Load = Callable[..., Runner]


class CannotWrite(GspnError):
    """A folder or a file cannot be written."""


def main(argv: Sequence[str] | None = None, load: Load | None = None) -> int:
    """Run the command and return its exit code; `load` replaces `load_engine`."""
    arguments = build_parser().parse_args(argv)
    try:
        given = {name: value for name, value in vars(arguments).items() if name in FIELD_NAMES}
        start = None
        if "start" in given:
            start = read_file(given["start"])
            given["start"] = reference_of(start)
        settings = Settings.from_dict({**_settings_of(arguments.again), **given})
        if settings.start and start is None:
            raise BadSetting(
                "start",
                f"{arguments.again.name} was made from a picture of {settings.start.partition('-')[0]} px; "
                "give that one with --start.",
            )
        output = Output(arguments, settings.prompt)
        engine = (load or load_engine)(
            arguments.model,
            device=arguments.device,
            dtype=arguments.dtype,
            extras=extras_of(arguments),
            on_progress=output.progress.model,
        )
        output.progress.end()
        return _run(engine, settings, output, start)
    except KeyboardInterrupt:
        return INTERRUPTED
    except GspnError as error:
        _print(f"error: {error}")
        return _exit_code(error)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; every setting is a flag, derived from `gspn_core.settings`."""
    parser = argparse.ArgumentParser(
        prog="python -m gspn_core", description="Generate a picture from a prompt, upscaled stage by stage."
    )
    hints = typing.get_type_hints(Settings)
    defaults = {name: getattr(Settings, name, None) for name in FIELD_NAMES}
    # A setting that is not given comes from Settings, or from the picture whose settings are repeated.
    parser.add_argument("prompt", nargs="?", default=argparse.SUPPRESS, help="what the picture should show")
    parser.add_argument(
        "--again",
        type=Path,
        metavar="PNG",
        help="take the settings that a picture of this studio was made with",
    )
    group = parser.add_argument_group("settings")
    for name in FIELD_NAMES:
        if name != "prompt":
            group.add_argument(_flag(name), **_option(name, hints[name], defaults[name]))
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder (default: this one)")
    parser.add_argument("--model", default="world", metavar="NAME|PATH", help="model (default: world)")
    add_model_options(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--dtype", default="auto", help="torch dtype of the weights (default: auto)")
    parser.add_argument(
        "--no-preview", dest="previews", action="store_false", help="no preview file while steps run"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of paths")
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _option(name: str, hint: Any, default: Any) -> dict[str, Any]:
    shown = "the model's" if default is None else repr(default) if isinstance(default, str) else default
    if name == "start":
        shown = "none, it starts from noise; the prompt describes the picture"
        return {"type": Path, "default": argparse.SUPPRESS, "metavar": "PICTURE", "help": f"default: {shown}"}
    if name == "start_px":
        shown = "the nearest to the picture's size"
    if name == "seed":
        shown = "random"
    if name in CHOICES:
        return {"choices": CHOICES[name], "default": argparse.SUPPRESS, "help": f"default: {shown}"}
    if name in RANGES:
        bounds, kinds = RANGES[name], typing.get_args(hint) or (hint,)
        number = next(kind for kind in kinds if kind is not types.NoneType)
        limits = f"{number(bounds.minimum)} to {number(bounds.maximum)}"
        return {
            "type": number,
            "default": argparse.SUPPRESS,
            "metavar": "N" if number is int else "X",
            "help": f"{limits} (default: {shown})",
        }
    if name == "overrides":
        shown = "none; 1024.upscale_strength=0.3 sets one stage's value; separate several by semicolons"
    return {"default": argparse.SUPPRESS, "metavar": "TEXT", "help": f"default: {shown}"}


def _settings_of(picture: Path | None) -> dict[str, Any]:
    """Return the settings in a picture's metadata, none for no picture; note other versions than these."""
    if picture is None:
        return {}
    try:
        info = read_png(picture)["gspn_studio"]
    except OSError as error:
        raise BadSetting("picture", f"{picture} cannot be read ({error.strerror}); give another.") from None
    if info is None:
        raise BadSetting(
            "picture",
            f"{picture.name} has no settings of this studio in its metadata; give a PNG that it wrote.",
        )
    here, there = versions(), info.get("versions") or {}
    other = [
        f"{name} {there.get(name)} (here {here[name]})" for name in here if there.get(name) != here[name]
    ]
    if other:
        _print(f"note: {picture.name} was made with {', '.join(other)}; the bytes may differ.")
    return info["settings"]


def load_engine(
    model: str, *, device: str, dtype: str, extras: Extras, on_progress: Callable[[ModelProgress], None]
) -> Runner:
    """Return an engine with its model loaded.

    Raises:
        ModelUnavailable: It cannot be loaded, with the reason.
    """
    # A missing model is refused at once, before torch is imported.
    find_card(model, extras=extras)
    # Advice of transformers about packages that this project does not use would mix with the progress.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from gspn_core.engine import Engine
    from gspn_core.models.loading import load_model

    loaded = load_model(model, device=device, dtype=dtype, extras=extras, on_progress=on_progress)
    for note in loaded.notes:
        _print(f"note: {note}")
    return Engine(loaded)


class Output:
    """Where a run's files go and what is printed of it. Names never collide with files in the folder."""

    def __init__(self, arguments: argparse.Namespace, prompt: str) -> None:
        self.folder: Path = arguments.out
        self.previews: bool = arguments.previews
        self.as_json: bool = arguments.json
        self.slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40].strip("-") or "picture"
        self.name = self.slug
        self.paths: list[Path] = []
        self.preview: Path | None = None
        self.plan: CascadePlan | None = None
        self.view = RunView(id="", created=time.time())
        self.progress = Progress(quiet=arguments.quiet)
        with _writing(str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)

    def take(self, event: Event, elapsed_seconds: float) -> None:
        """Apply an event to the view, write what it brings and show it; raise CannotWrite."""
        self.view = apply_event(self.view, event, elapsed_seconds=elapsed_seconds)
        if isinstance(event, PlanReady):
            self.plan = event.plan
            self.name = self._free_name(f"{self.slug}-{event.plan.settings.seed}")
            for notice in event.plan.notices:
                self.progress.line(notice)
        elif isinstance(event, StepDone) and event.preview is not None and self.previews:
            self.preview = self.folder / f"{self.name}-preview.jpg"
            with _writing(str(self.preview)):
                write_proxy(self.preview, event.preview)
        elif isinstance(event, StageDone):
            self._write(event)
        self.progress.show(self.view)

    def end(self, ended: Ended) -> None:
        """Record that the run ended before its target."""
        self.view = apply_event(self.view, ended)

    def close(self) -> None:
        """Remove the preview, end the progress line and print on stdout what was written."""
        if self.preview is not None:
            self.preview.unlink(missing_ok=True)
        self.progress.end()
        if self.as_json:
            print(json.dumps(self._record()))
            return
        for path in self.paths:
            print(path)

    def _record(self) -> dict[str, Any]:
        stages = [
            {"width": s.width, "height": s.height, "seconds": s.seconds, "peak_bytes": s.peak_bytes}
            for s in self.view.stages
        ]
        return {
            "state": self.view.state,
            "error": self.view.error,
            "paths": list(map(str, self.paths)),
            "settings": self.view.settings,
            "stages": stages,
            "seconds": self.view.elapsed_seconds,
        }

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 1
        while any(self.folder.glob(f"{name}-stage-*")):
            number += 1
            name = f"{wanted}-{number}"
        return name

    def _write(self, done: StageDone) -> None:
        stage, size = done.stage, done.stage.size
        path = self.folder / f"{self.name}-stage-{stage.index}-{size.width}x{size.height}.png"
        info = picture_info(self.plan, stage.index, versions())
        with _writing(str(path)):
            write_png(path, done.image, info)
            write_sidecar(
                path.with_suffix(".json"),
                info,
                seconds=done.seconds,
                peak_bytes=done.memory.peak_bytes,
                memory_kind=done.memory.kind,
                created=time.time(),
            )
        self.paths.append(path)


def _run(engine: Runner, settings: Settings, output: Output, start: Image | None) -> int:
    began = time.monotonic()
    options: dict[str, Any] = {"previews": output.previews}
    if start is not None:
        options["start"] = start
    try:
        with (
            _interruptible() as stop,
            closing(engine.run(engine.plan(settings), stop.is_set, **options)) as events,
        ):
            for event in events:
                output.take(event, time.monotonic() - began)
    except (Stopped, KeyboardInterrupt):
        output.end(Ended(state="stopped"))
        return INTERRUPTED
    except GspnError as error:
        output.end(Ended(state="failed", error=str(error)))
        raise
    finally:
        output.close()
    return DONE


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets; the second interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = signal.getsignal(signal.SIGINT)

    def request_stop(_number: int, _frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _print("\nstopping after this step; Ctrl-C again stops at once")

    signal.signal(signal.SIGINT, request_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _writing(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(write_failure(name, error)) from error


def _exit_code(error: GspnError) -> int:
    codes = {
        BadSetting: USAGE,
        ModelUnavailable: NO_MODEL,
        AdapterMismatch: NO_MODEL,
        OutOfMemory: NO_MEMORY,
        CannotWrite: NOT_WRITTEN,
    }
    return next((code for kind, code in codes.items() if isinstance(error, kind)), FAILED)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
