"""The server's command line, and what it asks for as one frozen record."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gspn_core.models.catalog import Extras
from gspn_core.models.options import add_model_options, extras_of

_YES = ("1", "t", "true")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What the server is asked for.

    Args:
        model: A name of the catalog or a path.
        extras: What is loaded next to the model.
        models_folder: Where the models are that the page offers in its place.
        runs_folder: Where runs are kept.
        quota_bytes: The oldest runs beyond this are removed.
        memory_bytes: The most that a stage may take; None takes what is free.
        auth: The name and password of visitors, None to ask for none.
        allowed_hosts: Host names that were allowed on the command line.
        choose_model: Visitors of a public page may change its model for all.
        examples: The page opens with an example, and shows those that come with the model.
        measuring: What stages take is measured between runs, for predicted times.
        in_space: The server runs on a Hugging Face Space.
        workers: How many workers run plans next to one another, "auto" for one on each GPU; None to run them
            in this process.
        ray: The address of a running Ray cluster for them, "" for this machine.
        on_zerogpu: The Space has a GPU only during calls that ask for one.
    """

    model: str
    extras: Extras
    models_folder: Path
    device: str
    dtype: str
    host: str
    port: int
    share: bool
    auth: tuple[str, str] | None
    allowed_hosts: tuple[str, ...]
    root_path: str
    mcp: bool
    choose_model: bool
    runs_folder: Path
    quota_bytes: int
    memory_bytes: int | None
    max_queued: int
    examples: bool
    measuring: bool
    in_space: bool
    on_zerogpu: bool
    workers: int | Literal["auto"] | None = None
    ray: str = ""

    def with_model(self, name: str) -> ServerOptions:
        """Return the options for another model.

        Extras belong to the model that they were given for, but for those that read finished pictures only,
        and the folders of LoRA files and of controls, which say which model they are for.
        """
        given = self.extras
        kept = Extras(upscalers=given.upscalers, x4=given.x4, loras=given.loras, controls=given.controls)
        return self if name == self.model else replace(self, model=name, extras=kept)


def parse_options(argv: Sequence[str], environment: Mapping[str, str], folder: Path) -> ServerOptions:
    """Return what a command line asks for; exit with the usage where it is not valid.

    Args:
        argv: The arguments, without the program's name.
        environment: The process's environment variables: HOST, PORT, Gradio's names for them, SPACE_ID and
            SPACES_ZERO_GPU are read.
        folder: Where the default folders for models and runs are.

    Raises:
        SystemExit: With code 2, after a sentence on stderr.
    """
    arguments = build_parser(environment, folder).parse_args(argv)
    return ServerOptions(
        model=arguments.model,
        extras=extras_of(arguments),
        models_folder=arguments.models,
        device=arguments.device,
        dtype=arguments.dtype,
        host=arguments.host,
        port=arguments.port,
        share=arguments.share,
        auth=arguments.auth,
        allowed_hosts=tuple(arguments.allowed_host),
        root_path=arguments.root_path,
        mcp=arguments.mcp,
        choose_model=arguments.choose_model,
        runs_folder=arguments.jobs,
        quota_bytes=int(arguments.quota_gb * 1e9),
        memory_bytes=None if arguments.memory is None else int(arguments.memory * 1e9),
        max_queued=arguments.max_queued,
        examples=not arguments.no_examples,
        measuring=not arguments.no_measuring,
        in_space=bool(environment.get("SPACE_ID")),
        workers="auto" if arguments.ray and arguments.workers is None else arguments.workers,
        ray=arguments.ray,
        on_zerogpu=environment.get("SPACES_ZERO_GPU", "").lower() in _YES,
    )


def build_parser(environment: Mapping[str, str], folder: Path) -> argparse.ArgumentParser:
    """Return the parser of the command line; HOST and PORT of the environment are its defaults."""
    parser = argparse.ArgumentParser(prog="app.py", description="Serve GSPN Studio.")
    _add_model_arguments(parser, folder)
    _add_network_arguments(parser, environment)
    _add_run_arguments(parser, folder)
    return parser


def _add_model_arguments(parser: argparse.ArgumentParser, folder: Path) -> None:
    parser.add_argument("--model", default="world", metavar="NAME|PATH", help="model (default: world)")
    add_model_options(parser)
    parser.add_argument(
        "--models",
        type=Path,
        default=folder / "models",
        metavar="DIR",
        help="folder of SDXL folders and .safetensors files to choose from (default: models next to app.py)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default: auto)")
    add_worker_options(parser)


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of several workers."""
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N|auto",
        help="run N plans at a time, each in a process of its own with a GPU of its own where there are any; "
        "auto: one on every GPU (needs ray; default: one at a time, in this process)",
    )
    parser.add_argument(
        "--ray",
        default="",
        metavar="ADDRESS",
        help="run them on this Ray cluster, such as 10.0.0.1:6379 or auto; with --workers that many, without "
        "it one on every GPU there",
    )


def _add_network_arguments(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    host = environment.get("HOST") or environment.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    port = environment.get("PORT") or environment.get("GRADIO_SERVER_PORT") or "7860"
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
        "--choose-model",
        action="store_true",
        help="let visitors change the model for all where the page is public and asks for no password "
        "(default: only on this machine's own address or with --auth)",
    )


def _add_run_arguments(parser: argparse.ArgumentParser, folder: Path) -> None:
    parser.add_argument(
        "--jobs",
        type=Path,
        default=folder / "jobs",
        metavar="DIR",
        help="folder for the pictures (default: jobs next to app.py)",
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
    parser.add_argument(
        "--no-examples", action="store_true", help="open with an empty page, without the model's examples"
    )
    parser.add_argument(
        "--no-measuring",
        action="store_true",
        help="do not measure this machine in the background, which takes a core for minutes after the first "
        "start; times are known once runs have shown them",
    )


def _workers(text: str) -> int | Literal["auto"]:
    return "auto" if text == "auto" else _whole(1, 1024)(text)


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
