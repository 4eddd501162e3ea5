"""A server with --workers, on workers that stand where those on Ray do."""

from __future__ import annotations

import pytest

from gspn_core.errors import ModelUnavailable
from gspn_core.models.catalog import WORLD
from gspn_core.planning.plan import make_plan
from gspn_core.remote.cluster import NO_RAY
from gspn_core.serving.exit_codes import ExitCode
from gspn_core.serving.remote_workers import load_for_worker, pool_of, take_runs
from gspn_core.serving.server import serve, why_not_serve


class Remote:
    """A worker of a pool."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.run = self.final_plan = lambda *_arguments, **_options: iter(())


class Pool:
    """A pool of two workers, one of which joins late."""

    timing_key, timings, measure = "", tuple, None

    def __init__(self, card, error: Exception | None = None) -> None:
        self._card, self._error = card, error
        self.workers = [Remote("early")]
        self.is_closed = False

    def open(self) -> str:
        if self._error is not None:
            raise self._error
        self.workers.append(Remote("late"))
        self.on_join(self.workers[-1])
        return "2 × a machine"

    def run(self, *_arguments, **_options):
        yield from ()

    def plan(self, settings):
        return make_plan(settings, self._card)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def pool(monkeypatch, toy_card):
    """Return a function that lets a server have a pool; it returns the pool and the queue's workers."""
    seen = []

    def make(error: Exception | None = None):
        made = Pool(toy_card, error)
        monkeypatch.setattr("gspn_core.serving.server.has_ray", lambda: True)
        monkeypatch.setattr("gspn_core.serving.model_server.pool_of", lambda *_: made)

        def take(pool, workers) -> None:
            seen.append(workers)
            take_runs(pool, workers)

        monkeypatch.setattr("gspn_core.serving.model_server.take_runs", take)
        return made, seen

    return make


def no_load(*_arguments):
    pytest.fail("the server's own process loads no model")


@pytest.mark.usefixtures("known_model")
def test_the_workers_of_a_pool_take_the_runs_until_they_are_gone(options_for, pool) -> None:
    made, seen = pool()
    during = []

    def wait() -> None:
        during.append(set(seen[0].jobs()))
        made.on_join(made.workers[0])
        made.on_leave(made.workers[0])
        during.append(set(seen[0].jobs()))

    assert serve(options_for("--workers", "2"), load=no_load, wait=wait) == ExitCode.DONE
    assert during == [{"early", "late"}, {"late"}]
    assert made.is_closed


@pytest.mark.usefixtures("known_model")
def test_workers_that_cannot_load_the_model_end_the_server(options_for, pool, monkeypatch, capsys) -> None:
    monkeypatch.setattr("gspn_core.serving.model_picker.embedded_cards", lambda: (WORLD,))
    made, _ = pool(ModelUnavailable("no GPU here."))
    assert serve(options_for("--workers", "auto"), load=no_load, wait=no_load) == ExitCode.NO_MODEL
    assert "error: no GPU here." in capsys.readouterr().err and made.is_closed


def test_without_ray_the_server_says_what_to_install(options_for, monkeypatch) -> None:
    monkeypatch.setattr("gspn_core.serving.server.has_ray", lambda: False)
    assert why_not_serve(options_for("--workers", "2")) == NO_RAY
    assert why_not_serve(options_for("--ray", "auto")) == NO_RAY
    assert why_not_serve(options_for()) is None


def test_zerogpu_has_no_workers(options_for, monkeypatch) -> None:
    monkeypatch.setattr("gspn_core.serving.server.has_ray", lambda: True)
    options = options_for("--workers", "2", environment={"SPACES_ZERO_GPU": "true"})
    assert why_not_serve(options).startswith("--workers cannot be had on ZeroGPU")


def test_a_worker_loads_what_the_server_was_asked_for(options_for, monkeypatch, toy_card, toy_engine) -> None:
    monkeypatch.setattr("gspn_core.serving.remote_workers.find_card", lambda _name, **_where: toy_card)
    options = options_for("--workers", "2", "--model", "mine")
    asked = []

    def load(given, on_progress):
        on_progress(None)
        asked.append(given)
        return toy_engine, "a machine"

    assert load_for_worker(options, load) == (toy_engine, "toy", toy_card.fingerprint, "a machine")
    assert asked == [options]
    assert pool_of(options, toy_card, load).workers == ()
