"""Serve one model after another at the same address, until interrupted."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from gspn_core.errors import GspnError, ModelUnavailable
from gspn_core.models.catalog import WORLD, find_card
from gspn_core.remote.cluster import NO_RAY, has_ray
from gspn_core.serving.engine_loader import LoadEngine
from gspn_core.serving.exit_codes import ExitCode, refuse
from gspn_core.serving.model_server import ModelServer
from gspn_core.serving.open_files import allow_open_files
from gspn_core.serving.ports import why_not_listen
from gspn_core.serving.server_options import ServerOptions
from gspn_core.serving.signals import interrupted_by_signals
from gspn_core.serving.zerogpu import Decorator
from ui.shared.strings import page_strings

_NO_MCP = "--mcp needs the package mcp, which is not installed; add it with: pip install 'gradio[mcp]'."
_MCP_WITH_AUTH = "--mcp cannot be served with --auth, as agents cannot sign in; leave one of them out."
_WORKERS_ON_ZEROGPU = "--workers cannot be had on ZeroGPU, which has a GPU for one call only; leave it out."


def serve(
    options: ServerOptions,
    *,
    load: LoadEngine,
    zerogpu: Decorator | None = None,
    wait: Callable[[], Any] | None = None,
) -> ExitCode:
    """Serve until interrupted; SIGTERM and SIGHUP stop like Ctrl+C.

    Args:
        options: What the server is asked for.
        load: Returns the engine and a few words for the machine it runs on.
        zerogpu: ZeroGPU's decorator, None elsewhere.
        wait: Returns when the server is to end; None serves until interrupted.
    """
    refusal = why_not_serve(options)
    if refusal:
        return refuse(refusal, ExitCode.USAGE)
    allow_open_files()
    try:
        with interrupted_by_signals():
            return _serve_models(options, load=load, zerogpu=zerogpu, wait=wait)
    except KeyboardInterrupt:
        print("Stopped.", flush=True)
        return ExitCode.DONE


def why_not_serve(options: ServerOptions) -> str | None:
    """Return in one sentence why these options cannot be served, None if they can."""
    if options.mcp and options.auth:
        return _MCP_WITH_AUTH
    if options.mcp and not importlib.util.find_spec("mcp"):
        return _NO_MCP
    if options.workers is not None and not has_ray():
        return NO_RAY
    if options.workers is not None and options.on_zerogpu:
        return _WORKERS_ON_ZEROGPU
    return why_not_listen(options.host, options.port)


def _serve_models(
    options: ServerOptions,
    *,
    load: LoadEngine,
    zerogpu: Decorator | None,
    wait: Callable[[], Any] | None,
) -> ExitCode:
    """Serve the model that was asked for, then each that is chosen on the page."""
    name, issue = options.model, ""
    while True:
        own = options.with_model(name)
        try:
            card = find_card(name, device=own.device, dtype=own.dtype, extras=own.extras)
        except ModelUnavailable as error:
            refuse(str(error), ExitCode.NO_MODEL)
            if name == WORLD.name:
                return ExitCode.NO_MODEL
            # The page opens all the same, with the model that is always here, and says why.
            name, issue = WORLD.name, page_strings.fell_back(str(error), WORLD.title)
            continue
        server = ModelServer(own, card, requested=options.model, issue=issue, load=load, zerogpu=zerogpu)
        try:
            server.claim()
        except GspnError as error:
            return refuse(str(error), ExitCode.USAGE)
        code, chosen = server.serve(wait)
        if chosen is None:
            return code
        # No reference is left to the model that was served while the next one is loaded.
        del server
        name, issue = chosen, ""
