"""GSPN Studio: put the engine, the jobs and the page together and serve them. The only file that knows all.

Exit codes: 0 stopped on purpose, 2 a bad argument or a port that is taken, 3 no model that could be served.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import gc
import importlib
import importlib.util
import os
import re
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Read by gradio and huggingface_hub when they are imported: this page reports nothing to anybody.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Read by transformers: its advice about packages that this project does not use stays out of the log.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from gspn_core.errors import GspnError, ModelUnavailable, Stopped
from gspn_core.events import Calibrated, Event, ModelProgress, StepWeights
from gspn_core.models.catalog import WORLD, Extras, find_card
from gspn_core.models.options import add_model_options, extras_of
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import CascadePlan, ModelCard, StagePlan
from gspn_core.runs.calibration import Calibration, Measurable
from gspn_core.runs.measured import Measured
from gspn_core.runs.measuring import Measuring
from gspn_core.runs.queue import RunQueue
from gspn_core.serving.adherence import find_adherence
from gspn_core.serving.model_picker import ModelPicker
from gspn_core.serving.zerogpu import run_on_lent
from gspn_core.settings import CHOICES, Settings
from gspn_core.studies.runner import Studies
from ui import words
from ui.guard.connections import guard_connections
from ui.guard.hosts import allowed_hosts
from ui.page import build_page, launch_arguments

DONE, USAGE, NO_MODEL = 0, 2, 3
_STOP_POLL_SECONDS = 0.2
_LAST_ANSWER_SECONDS = 0.5
_NO_MCP = "--mcp needs the package mcp, which is not installed; add it with: pip install 'gradio[mcp]'."
_MCP_WITH_AUTH = "--mcp cannot be served with --auth, as agents cannot sign in; leave one of them out."

Told = Callable[[ModelProgress], None]
Load = Callable[[argparse.Namespace, Told], tuple[Any, str]]


class EngineHost:
    """An engine that is read in the background, so that the page answers before the model is there.

    load: returns the engine and a few words for the machine it runs on, and tells as it goes on; raises
    GspnError.
    lend: ZeroGPU's decorator, for runs on a GPU that is lent for one call; None where there is no such thing.
    paces: the folder that remembers how fast this machine is; None measures nothing.
    """

    def __init__(
        self,
        card: ModelCard,
        load: Callable[[Told], tuple[Any, str]],
        *,
        lend: Callable[..., Any] | None = None,
        paces: Path | None = None,
    ) -> None:
        self._card = card
        self._paces = paces
        self._calibration: Calibration | None = None
        self._load = load
        self._lend = lend
        self._run: Callable[..., Iterator[Event]] | None = None
        self.planned_seconds: Callable[[Settings], float | None] = lambda _: None
        self.calibrated: Callable[[Calibrated], None] = lambda _: None
        self._settled = threading.Event()
        self._engine: Any = None
        self._machine = ""
        self._dropped = False
        self.error: GspnError | None = None
        self.progress: ModelProgress | None = None

    def drop(self) -> None:
        """Let go of the model; leave off reading it."""
        self._dropped = True
        if self._calibration is not None:
            self._calibration.close()
        self._engine = self._run = self._calibration = None

    def start(self) -> None:
        """Begin to read the model, unless `read` has done so."""
        if not self._settled.is_set():
            threading.Thread(target=self.read, name="gspn-loader", daemon=True).start()

    def machine(self) -> str | None:
        """Return what the model runs on, None while it is being read."""
        return self._machine if self._settled.is_set() else None

    def measured(self) -> int | None:
        """Return how much of the machine's pace is known, None once no more will be before a run."""
        if not self._settled.is_set():
            return 0
        calibration = self._calibration
        return None if calibration is None else calibration.measured

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the model has been read or has failed to be; tell whether that is so."""
        return self._settled.wait(timeout_seconds)

    def plan(self, settings: Settings) -> CascadePlan:
        """Return what a run would do; the card is enough for that."""
        engine = self._engine
        return make_plan(settings, self._card) if engine is None else engine.plan(settings)

    def weights(self, settings: Settings) -> tuple[tuple[StepWeights, ...], ...] | None:
        """Return what each step of each stage would mix; None while the model is being read."""
        return self._engine.weights(settings) if self._engine is not None else None

    def model_calls(self, stage: StagePlan) -> int | None:
        """Return how many times a stage evaluates the UNet; None while the model is being read."""
        return self._engine.model_calls(stage) if self._engine is not None else None

    def run(self, settings: Settings, should_stop: Callable[[], bool], **options: Any) -> Iterator[Event]:
        """Wait for the model, then yield a run's events; raise Stopped or ModelUnavailable instead."""
        while not self.wait(_STOP_POLL_SECONDS):
            if should_stop():
                raise Stopped("The run was stopped while the model was being read.")
        if self.error is not None:
            raise self.error
        yield from self._run(settings, should_stop, **options)

    def measure_mixers(self, should_stop: Callable[[], bool]) -> Iterator[Calibrated]:
        """Yield what stages cost here with every mixer; raise ModelUnavailable before the model is there."""
        if self._engine is None:
            raise self.error or ModelUnavailable("The model is still being read; measure when it is there.")
        found = self._engine.measure_mixers(should_stop)
        calibration = self._calibration
        yield from found if calibration is None else calibration.alone(found)

    def read(self) -> None:
        """Read the model and return when it is there or has failed to be."""
        try:
            self._engine, self._machine = self._load(self._take)
            self._run = self._engine.run
            if self._lend is not None:
                self._run = run_on_lent(
                    self._run, self._lend, lambda settings: self.planned_seconds(settings)
                )
            elif self._paces is not None and isinstance(self._engine, Measurable):
                self._calibration = Calibration(
                    self._engine, self._paces, told=lambda piece: self.calibrated(piece)
                )
                self._run = self._calibration.run
                self._calibration.start()
        except GspnError as error:
            self.error = error
        except Exception as error:
            self.error = ModelUnavailable(f"the model could not be read ({type(error).__name__}: {error}).")
        finally:
            self._settled.set()
            if self._dropped:
                self.drop()

    def _take(self, progress: ModelProgress) -> None:
        if self._dropped:
            raise Stopped("Another model was chosen.")
        self.progress = progress


def load_engine(arguments: argparse.Namespace, told: Told) -> tuple[Any, str]:
    """Return the engine of the model that was asked for, and the machine it runs on in words."""
    # These bring in torch, which takes seconds: the page is up before.
    from gspn_core.engine import Engine
    from gspn_core.models.loading import load_model
    from gspn_core.runtime.device import describe_machine

    memory_bytes = None if arguments.memory is None else int(arguments.memory * 1e9)
    model = load_model(
        arguments.model,
        device=arguments.device,
        dtype=arguments.dtype,
        extras=extras_of(arguments),
        told=told,
        memory_bytes=memory_bytes,
    )
    # A server whose GPU is lent has none of its own to warm up on.
    for adapter in model.adapters.values() if lent_gpu() is None else ():
        adapter.warm_up()
    for note in model.notes:
        print(note, flush=True)
    return Engine(model, memory_bytes=memory_bytes), describe_machine(model.device)


def planned_seconds(jobs: RunQueue, engine: EngineHost, settings: Settings) -> float | None:
    """Return what a run takes as measured here before; None while one of its stages has not been."""
    plan = engine.plan(settings)
    seconds = [jobs.stage_seconds(plan, stage, engine.model_calls(stage) or 0) for stage in plan.stages]
    return None if None in seconds else sum(seconds)


def lent_gpu() -> Callable[..., Any] | None:
    """Return ZeroGPU's decorator on a Space whose GPU is lent for one call, None everywhere else."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):
        return None
    return importlib.import_module("spaces").GPU


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; the environment's HOST and PORT are its defaults."""
    environment = os.environ
    host = environment.get("HOST") or environment.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    port = environment.get("PORT") or environment.get("GRADIO_SERVER_PORT") or "7860"
    parser = argparse.ArgumentParser(prog="app.py", description="Serve GSPN Studio.")
    parser.add_argument("--model", default="world", metavar="NAME|PATH", help="model (default: world)")
    add_model_options(parser)
    parser.add_argument(
        "--models",
        type=Path,
        default=Path(__file__).resolve().parent / "models",
        metavar="DIR",
        help="folder of SDXL folders and .safetensors files to choose from (default: models beside app.py)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default: auto)")
    parser.add_argument("--host", default=host, help="address to listen on (default: HOST or 127.0.0.1)")
    parser.add_argument(
        "--port", type=_whole(1, 65535), default=port, help="port to listen on (default: PORT or 7860)"
    )
    parser.add_argument("--share", action="store_true", help="also serve a public gradio.live address")
    parser.add_argument(
        "--auth", type=_credentials, metavar="USER:PASSWORD", help="ask visitors for this name and password"
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        type=_host_name,
        default=[],
        metavar="NAME",
        help="answer only to this host name, as a proxy sends it, and to this machine's; may be repeated "
        "(default: this machine's names, or any with --host 0.0.0.0 or --share)",
    )
    parser.add_argument(
        "--root-path",
        default=environment.get("GRADIO_ROOT_PATH", ""),
        type=_root_path,
        metavar="/PATH",
        help="the path under which a proxy serves the page (default: GRADIO_ROOT_PATH or none)",
    )
    parser.add_argument("--mcp", action="store_true", help="also serve the API as tools for agents (MCP)")
    parser.add_argument(
        "--jobs",
        type=Path,
        default=Path(__file__).resolve().parent / "jobs",
        metavar="DIR",
        help="folder for the pictures (default: jobs beside app.py)",
    )
    parser.add_argument(
        "--quota-gb",
        type=_positive,
        default=20.0,
        metavar="GB",
        help="the oldest runs beyond this are removed (default: 20)",
    )
    parser.add_argument(
        "--memory",
        type=_positive,
        metavar="GB",
        help="the most that a stage may take; a run that does not fit is refused (default: what is free)",
    )
    parser.add_argument(
        "--max-queued", type=_whole(1, 10_000), default=20, help="runs that may wait (default: 20)"
    )
    return parser


def main(
    argv: Sequence[str] | None = None,
    *,
    load: Load = load_engine,
    forever: Callable[[], Any] | None = None,
) -> int:
    """Serve until interrupted and return the exit code. load and forever are there for tests.

    SIGTERM, as from a service manager, and SIGHUP, as from a terminal that closes, stop like Ctrl+C.
    """
    if argv is None:
        # A Space has no command line of its own, only variables.
        argv = [*shlex.split(os.environ.get("GSPN_ARGS", "")), *sys.argv[1:]]
    arguments = build_parser().parse_args(argv)
    # ZeroGPU's package changes torch and must come before it; elsewhere it is not asked for.
    lend = lent_gpu()
    if arguments.mcp and arguments.auth:
        return _refuse(_MCP_WITH_AUTH, USAGE)
    if arguments.mcp and not importlib.util.find_spec("mcp"):
        return _refuse(_NO_MCP, USAGE)
    taken = why_not_listen(arguments.host, arguments.port)
    if taken:
        return _refuse(taken, USAGE)
    try:
        with _stopped_by_signals():
            return _serve_in_turn(arguments, load=load, lend=lend, forever=forever)
    except KeyboardInterrupt:
        # Outside of what is served: while the page is built, or another model is put in its place.
        print("Stopped.", flush=True)
        return DONE


def _serve_in_turn(
    arguments: argparse.Namespace,
    *,
    load: Load,
    lend: Callable[..., Any] | None,
    forever: Callable[[], Any] | None,
) -> int:
    """Serve the model that was asked for, then each that is chosen on the page; return the exit code."""
    asked, name, trouble = arguments.model, arguments.model, ""
    while True:
        told = _arguments_for(arguments, asked, name)
        try:
            card = find_card(name, device=told.device, dtype=told.dtype, extras=extras_of(told))
        except ModelUnavailable as error:
            _refuse(str(error), NO_MODEL)
            if name == WORLD.name:
                return NO_MODEL
            # The page opens all the same: with the model that is always here, and it says why.
            name, trouble = WORLD.name, words.fell_back(str(error), WORLD.title)
            continue
        code, chosen = _serve_model(told, asked, card, trouble, load=load, lend=lend, forever=forever)
        if chosen is None:
            return code
        name, trouble = chosen, ""


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt once, for the length of a `with` block.

    What is ignored, as SIGHUP under nohup, stays so. Other threads than the main one cannot do this.
    """
    before: dict[int, Any] = {}

    def interrupt(_number: int, _frame: Any) -> None:
        # What this begins is to be finished: closing is not interrupted again.
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
        for number in before:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _arguments_for(arguments: argparse.Namespace, asked: str, name: str) -> argparse.Namespace:
    """Return the arguments with another model in place; what goes beside a model belongs to its own."""
    told = argparse.Namespace(**{**vars(arguments), "model": name})
    if name != asked:
        for extra in dataclasses.fields(Extras):
            setattr(told, f"with_{extra.name}", None)
    return told


def _serve_model(
    arguments: argparse.Namespace,
    asked: str,
    card: ModelCard,
    trouble: str,
    *,
    load: Load,
    lend: Callable[..., Any] | None,
    forever: Callable[[], Any] | None,
) -> tuple[int, str | None]:
    """Serve one model until interrupted or until another is chosen; return the exit code and that other."""
    engine = EngineHost(card, lambda told: load(arguments, told), lend=lend, paces=arguments.jobs)
    # Files and mathematics that changed are another model's pace.
    measured = Measured(arguments.jobs, model=f"{card.name} {card.fingerprint}", machine=engine.machine)
    engine.calibrated = measured.take
    jobs = RunQueue(
        engine.run,
        arguments.jobs,
        plan=engine.plan,
        max_queued=arguments.max_queued,
        keep_bytes=int(arguments.quota_gb * 1e9),
        learned=measured.take_stage,
    )
    measuring = Measuring(
        jobs,
        measured,
        # A GPU that is lent for one call has no time for it.
        engine.measure_mixers if lend is None else None,
        pieces=len(CHOICES["mixer"]) * len(card.targets),
    )
    engine.planned_seconds = lambda settings: planned_seconds(jobs, engine, settings)
    try:
        jobs.claim()
    except GspnError as error:
        return _refuse(str(error), USAGE), None
    if lend is not None:
        # It moves to the lender what lies on the GPU at the page's launch, and forks afterwards.
        engine.read()
    studies = Studies(jobs, calls_of=engine.model_calls, adherence=find_adherence(card))
    # A lent GPU and a public address are bound to this launch, so the model stays.
    shelf = ModelPicker(
        arguments.model,
        asked=asked,
        folder=arguments.models,
        is_busy=lambda: jobs.is_busy,
        is_fixed=lend is not None or arguments.share or arguments.mcp,
    )
    page = build_page(
        jobs,
        card,
        studies=studies,
        weights=engine.weights,
        machine=engine.machine,
        measured=engine.measured,
        reading=lambda: engine.progress,
        trouble=lambda: trouble if engine.error is None else str(engine.error),
        shelf=shelf,
        measuring=measuring,
        in_space=bool(os.environ.get("SPACE_ID")),
    )
    try:
        code = _serve(page, jobs, engine, shelf, arguments, forever or shelf.wait)
        # What the choice is answered with still has to reach the page.
        time.sleep(_LAST_ANSWER_SECONDS if shelf.chosen else 0)
        return code, shelf.chosen
    finally:
        page.close(verbose=False)
        studies.close()
        measuring.close()
        jobs.close()
        engine.drop()
        gc.collect()


def _serve(
    page: Any,
    jobs: RunQueue,
    engine: EngineHost,
    shelf: ModelPicker,
    arguments: argparse.Namespace,
    forever: Any,
) -> int:
    try:
        _, local, public = page.launch(
            server_name=arguments.host,
            server_port=arguments.port,
            share=arguments.share,
            auth=arguments.auth,
            prevent_thread_lock=True,
            mcp_server=arguments.mcp,
            root_path=arguments.root_path,
            **launch_arguments(
                jobs.folder,
                hosts=hosts_of(arguments),
                has_login=arguments.auth is not None,
                has_mcp=arguments.mcp,
            ),
        )
    except OSError as error:
        return _refuse(f"The page cannot be served on port {arguments.port}: {error}.", USAGE)
    guard_connections(page.server)
    print(f"{words.TITLE}: {local}" + (f" and {public}" if public else ""), flush=True)
    engine.start()
    try:
        while not engine.wait(_STOP_POLL_SECONDS):
            if shelf.chosen:
                return DONE
        if engine.error is None:
            print(f"The model is ready on {engine.machine()}.", flush=True)
        else:
            _refuse(str(engine.error), NO_MODEL)
            if len(shelf.choices()) < 2:
                return NO_MODEL
        forever()
    except KeyboardInterrupt:
        print("Stopped.", flush=True)
    return DONE


def hosts_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the host names that the server answers to, none for all; a Space has names of its own."""
    is_public = arguments.share or bool(os.environ.get("SPACE_ID"))
    return allowed_hosts(arguments.host, arguments.allowed_host, is_public=is_public)


def why_not_listen(host: str, port: int) -> str | None:
    """Return in one sentence why nothing can listen there, None if something can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                # As the server does, or a port that was just left would look taken.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        return f"{host} is no address; give --host 127.0.0.1, or 0.0.0.0 to be reached from the network."
    except PermissionError:
        return f"Port {port} may not be used by this user; choose one above 1023 with --port."
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"Port {port} on {host} is taken by another program; choose another with --port."
        return f"{host} is no address of this machine ({error.strerror}); give --host 127.0.0.1 or 0.0.0.0."
    return None


def _refuse(sentence: str, code: int) -> int:
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    return code


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, got {text!r}")
        return int(text)

    return parse


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def _host_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]", text):
        raise argparse.ArgumentTypeError(f"must be a host name without a port, got {text!r}")
    return text.lower()


def _root_path(text: str) -> str:
    if text and not re.fullmatch(r"(?:https?://[^/\s]+)?(?:/[\w.~-]+)*/?", text):
        raise argparse.ArgumentTypeError(f"must look like /studio, got {text!r}")
    return text.rstrip("/")


def _credentials(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise argparse.ArgumentTypeError("must look like user:password")
    return name, password


if __name__ == "__main__":
    sys.exit(main())
