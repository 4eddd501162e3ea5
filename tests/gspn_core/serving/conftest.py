"""A card and an engine without weights, and what serves them."""

from __future__ import annotations

import socket

import pytest

from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import ModelCard


class ToyEngine:
    """Plans by its card; a run yields its plan and whether it should stop."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card

    def plan(self, settings):
        return make_plan(settings, self._card)

    def run(self, plan, should_stop):
        yield from (plan, should_stop())


@pytest.fixture
def toy_card() -> ModelCard:
    return ModelCard(
        name="toy",
        title="Toy",
        description="draws toys",
        base_px=64,
        size_multiple=32,
        max_target_px=128,
        default_target_px=128,
        num_inference_steps=4,
        guidance_scale=4.0,
        upscale_strength=0.5,
        mixers=("gspn",),
    )


@pytest.fixture
def toy_engine(toy_card) -> ToyEngine:
    return ToyEngine(toy_card)


@pytest.fixture
def known_model(monkeypatch, toy_card) -> None:
    """Let every model name stand for the toy."""
    monkeypatch.setattr("gspn_core.serving.server.find_card", lambda _name, **_where: toy_card)


@pytest.fixture
def taken_port():
    """Return a port of this machine that is in use."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def options_for(free_port, tmp_path):
    """Return what parses a command line for a free port and a temporary folder of runs."""
    from gspn_core.serving.server_options import parse_options

    def parse(*flags: str, environment=None):
        where = ["--port", str(free_port), "--jobs", str(tmp_path / "jobs")]
        return parse_options([*where, *flags], environment or {}, tmp_path)

    return parse
