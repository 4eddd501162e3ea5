"""`python -m gspn_core "a prompt" --out DIR`: one run from the command line, each stage written when done.

Exit codes: 0 done, 1 failed otherwise, 2 a bad setting or argument, 3 the model is unavailable, 4 out of
memory, 5 cannot write, 130 interrupted (finished stages stay written).
"""

from __future__ import annotations

import argparse
import json
import re
import time
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from PIL.Image import Image

from gspn_core.cli.command import (
    DONE,
    INTERRUPTED,
    Load,
    Runner,
    add_engine_options,
    engine_of,
    exit_code,
    interruptible,
    say,
)
from gspn_core.errors import BadSetting, CannotWrite, GspnError, Stopped
from gspn_core.events import Event, PictureDone, PlanReady, StageDone, StepDone
from gspn_core.files import write_failure
from gspn_core.images.load import read_file, reference_of
from gspn_core.images.picture_text import read_texts
from gspn_core.images.png import picture_info, versions, write_png, write_proxy, write_sidecar
from gspn_core.planning.costs import MOST_PICTURES
from gspn_core.planning.types import CascadePlan
from gspn_core.runs.batch import batch_plans, drawn_alike, of_seed
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import Ended, RunView
from gspn_core.runs.run_state import first_stage_of
from gspn_core.runs.terminal import Progress
from gspn_core.settings import CHOICES, FIELD_NAMES, PICTURES, RANGES, Settings


def main(argv: Sequence[str] | None = None, load: Load | None = None) -> int:
    """Run the command and return its exit code; `load` replaces `load_engine`."""
    arguments = build_parser().parse_args(argv)
    try:
        flags = {name: value for name, value in vars(arguments).items() if name in FIELD_NAMES}
        given = flags | ({"loras": ", ".join(flags["loras"])} if "loras" in flags else {})
        pictures = {name: read_file(given[name]) for name in PICTURES if name in given}
        given |= {name: reference_of(picture) for name, picture in pictures.items()}
        again = _info_of(arguments.again)
        settings = Settings.from_dict({**again.get("settings", {}), **given})
        _check_given(settings, pictures, arguments.again)
        output = Output(arguments, settings.prompt, again.get("model"))
        engine = engine_of(arguments, output.progress.model, load)
        output.progress.end()
        return _run(engine, settings, output, pictures, arguments.pictures)
    except KeyboardInterrupt:
        return INTERRUPTED
    except GspnError as error:
        say(f"error: {error}")
        return exit_code(error)


def _check_given(settings: Settings, pictures: Mapping[str, Image], again: Path) -> None:
    """Raise BadSetting for a picture that a repeated run was made with and that is not given."""
    for name in PICTURES:
        reference = getattr(settings, name)
        needed = name == "start" or settings.control
        if reference and needed and name not in pictures:
            size = reference.partition("-")[0]
            raise BadSetting(
                name, f"{again.name} was made from a picture of {size} px; give that one with {_flag(name)}."
            )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; every setting is a flag, derived from `gspn_core.settings`."""
    parser = argparse.ArgumentParser(
        prog="python -m gspn_core",
        description="Generate a picture from a prompt, upscaled stage by stage.",
        epilog="python -m gspn_core grid FILE --out DIR runs a grid of settings (grid --help).",
    )
    hints = typing.get_type_hints(Settings)
    defaults = {name: getattr(Settings, name, None) for name in FIELD_NAMES}
    # A setting that is not given comes from Settings, or from the picture whose settings are repeated.
    parser.add_argument("prompt", nargs="?", default=argparse.SUPPRESS, help="what the picture should show")
    parser.add_argument(
        "--again",
        type=Path,
        metavar="IMAGE",
        help="take the settings that a picture of this studio was made with",
    )
    group = parser.add_argument_group("settings")
    for name in FIELD_NAMES:
        if name != "prompt":
            group.add_argument(_flag(name), **_option(name, hints[name], defaults[name]))
    parser.add_argument(
        "--pictures",
        type=int,
        metavar="N",
        help=f"draw the first stage of N seeds (1 to {MOST_PICTURES}), the seed and those after it, in place "
        "of a whole run; --again takes one of them to the target",
    )
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder (default: this one)")
    add_engine_options(parser)
    parser.add_argument(
        "--no-preview", dest="previews", action="store_false", help="no preview file while steps run"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of paths")
    return parser


def _flag(name: str) -> str:
    return "--lora" if name == "loras" else "--" + name.replace("_", "-")


def _option(name: str, hint: Any, default: Any) -> dict[str, Any]:
    shown = "the model's" if default is None else repr(default) if isinstance(default, str) else default
    if name == "start":
        shown = "none, it starts from noise; the prompt describes the picture"
        return {"type": Path, "default": argparse.SUPPRESS, "metavar": "PICTURE", "help": f"default: {shown}"}
    if name == "control_image":
        shown = "none; the picture that --control reads"
        return {"type": Path, "default": argparse.SUPPRESS, "metavar": "PICTURE", "help": f"default: {shown}"}
    if name == "loras":
        shown = "none; a file of the folder --loras with its weight, such as ink:0.8; may be repeated"
        own = {"dest": name, "action": "append", "metavar": "NAME:WEIGHT", "help": f"default: {shown}"}
        return {**own, "default": argparse.SUPPRESS}
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


def _info_of(picture: Path | None) -> dict[str, Any]:
    """Return the info in a picture's metadata, empty for no picture; note other versions than these."""
    if picture is None:
        return {}
    try:
        info = read_texts(picture)["gspn_studio"]
    except OSError as error:
        raise BadSetting("picture", f"{picture} cannot be read ({error.strerror}); give another.") from None
    if info is None:
        raise BadSetting(
            "picture",
            f"{picture.name} has no settings of this studio in its metadata; give an image that it wrote.",
        )
    here, there = versions(), info.get("versions")
    there = there if isinstance(there, dict) else {}
    other = [
        f"{name} {str(there.get(name))[:40]} (here {here[name]})"
        for name in here
        if there.get(name) != here[name]
    ]
    if other:
        say(f"note: {picture.name} was made with {', '.join(other)}; the bytes may differ.")
    return info


class Output:
    """Where a run's files go and what is printed of it. Names never collide with files in the folder."""

    def __init__(self, arguments: argparse.Namespace, prompt: str, made_by: Any = None) -> None:
        self.folder: Path = arguments.out
        self.previews: bool = arguments.previews
        self.as_json: bool = arguments.json
        self.slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40].strip("-") or "picture"
        self.name = self.slug
        self.paths: list[Path] = []
        self.preview: Path | None = None
        self.plan: CascadePlan | None = None
        # The model of the picture whose settings are repeated.
        self.made_by = made_by
        self.view = RunView(id="", created=time.time())
        self.progress = Progress(quiet=arguments.quiet)
        with _writing(str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)

    def take(self, event: Event, elapsed_seconds: float, plan: CascadePlan) -> None:
        """Apply an event of a plan to the view, write what it brings and show it; raise CannotWrite."""
        self.view = apply_event(self.view, event, elapsed_seconds=elapsed_seconds)
        if isinstance(event, PlanReady):
            is_first = self.plan is None
            self._begin(plan)
            for notice in event.plan.notices if is_first else ():
                self.progress.line(notice)
            if is_first and self.made_by is not None and self.made_by != event.plan.model:
                self.progress.line(
                    f"note: {str(self.made_by)[:80]} made the picture, and {event.plan.model} runs here; "
                    "the result is another one."
                )
        elif isinstance(event, StepDone) and event.preview is not None and self.previews:
            self.preview = self.folder / f"{self.name}-preview.jpg"
            with _writing(str(self.preview)):
                write_proxy(self.preview, event.preview)
        elif isinstance(event, StageDone):
            self._write(event)
        self.progress.show(self.view)

    def add(self, plan: CascadePlan, done: StageDone) -> None:
        """Write the first stage of another plan that was drawn with the one before; raise CannotWrite."""
        self._begin(plan)
        self._write(of_seed(done, plan.stages[0]))

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

    def _begin(self, plan: CascadePlan) -> None:
        self.plan = plan
        self.name = self._free_name(f"{self.slug}-{plan.settings.seed}")

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


def _run(
    engine: Runner,
    settings: Settings,
    output: Output,
    given: Mapping[str, Image],
    pictures: int | None,
) -> int:
    """Run settings to their target, or only the first stages of a number of pictures.

    given: the init image and what a control reads, by the settings that name them.
    """
    began = time.monotonic()
    options: dict[str, Any] = {"previews": output.previews, **given}
    try:
        with interruptible() as stop:
            if pictures is None:
                plans = [engine.plan(settings)]
            else:
                plans = list(batch_plans(engine.plan, settings, pictures))
            while plans:
                plan = plans.pop(0)
                alike = [other for other in plans if drawn_alike(other.stages[0], plan.stages[0])]
                others = {other.settings.seed: other for other in alike}
                more_seeds = {"more_seeds": tuple(others)} if others else {}
                to_run = plan if pictures is None else first_stage_of(plan)
                with closing(engine.run(to_run, stop.is_set, **options, **more_seeds)) as events:
                    for event in events:
                        if isinstance(event, PictureDone):
                            output.add(others[event.seed], event.done)
                            plans.remove(others[event.seed])
                        else:
                            output.take(event, time.monotonic() - began, plan)
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
def _writing(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(write_failure(name, error)) from error
