"""From the server's options to an engine on its device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gspn_core.serving.engine_host import OnProgress
from gspn_core.serving.server_options import ServerOptions

LoadEngine = Callable[[ServerOptions, OnProgress], tuple[Any, str]]


def load_engine(options: ServerOptions, on_progress: OnProgress) -> tuple[Any, str]:
    """Return the engine of the model that was asked for, and a few words for the machine it runs on.

    Raises:
        GspnError: The model cannot be loaded.
    """
    # These import torch, which takes seconds: the page answers before.
    from gspn_core.engine import Engine
    from gspn_core.models.loading import load_model
    from gspn_core.runtime.device import describe_machine

    model = load_model(
        options.model,
        device=options.device,
        dtype=options.dtype,
        extras=options.extras,
        on_progress=on_progress,
        memory_bytes=options.memory_bytes,
    )
    # On ZeroGPU this process has no GPU to warm up on.
    for adapter in () if options.on_zerogpu else model.adapters.values():
        adapter.warm_up()
    for note in model.notes:
        print(note, flush=True)
    return Engine(model, memory_bytes=options.memory_bytes), describe_machine(model.device)
