from __future__ import annotations

import gc
import json
import os
import signal
import threading
from pathlib import Path

import httpx
import pytest

from gspn_core.errors import ModelUnavailable, Stopped
from gspn_core.events import PlanReady
from gspn_core.models.catalog import WORLD
from gspn_core.models.layout import LAYOUTS, write_configs
from gspn_core.runs.measuring import Measuring
from gspn_core.runs.queue import RunQueue
from gspn_core.serving.exit_codes import ExitCode
from gspn_core.serving.model_picker import ModelPicker
from gspn_core.serving.ports import why_not_listen
from gspn_core.serving.server import serve
from gspn_core.settings import Settings


def get(port: int, path: str = "") -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=60, trust_env=False)


@pytest.mark.usefixtures("known_model")
def test_a_taken_port_ends_with_one_sentence(capsys, taken_port, options_for) -> None:
    code = serve(options_for("--port", str(taken_port)), load=pytest.fail)
    assert code == ExitCode.USAGE
    error = capsys.readouterr().err
    assert error.startswith(f"error: Port {taken_port} on 127.0.0.1 is taken") and error.count("\n") == 1


@pytest.mark.usefixtures("known_model")
def test_a_login_and_tools_for_agents_are_refused_together(capsys, options_for) -> None:
    assert serve(options_for("--mcp", "--auth", "me:secret"), load=pytest.fail) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert error.startswith("error: --mcp cannot be served with --auth") and error.count("\n") == 1


@pytest.mark.usefixtures("known_model")
def test_a_folder_that_another_server_has_ends_with_one_sentence(capsys, options_for, toy_engine) -> None:
    options = options_for()
    other = RunQueue(toy_engine.run, options.runs_folder, plan=toy_engine.plan)
    other.claim()
    try:
        assert serve(options, load=pytest.fail) == ExitCode.USAGE
    finally:
        other.close()
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_the_page_opens_with_the_embedded_model_if_the_requested_one_is_missing(
    capsys, options_for, toy_engine, tmp_path
) -> None:
    loaded, shown = [], []
    options = options_for("--model", str(tmp_path / "none"), "--vae", str(tmp_path / "vae"))

    def load(options, _on_progress):
        loaded.append((options.model, options.extras.vae))
        return toy_engine, "a machine"

    def look() -> None:
        config = get(options.port, "config").json()
        values = [part["props"].get("value") for part in config["components"]]
        shown.extend(value["issue"] for value in values if isinstance(value, dict) and "machine" in value)

    assert serve(options, load=load, wait=look) == ExitCode.DONE
    assert loaded == [("world", None)]
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "model_index.json" in error
    assert "model_index.json" in shown[0] and shown[0].endswith("The embedded model is used instead.")


def test_another_model_is_served_at_the_same_address_once_it_is_chosen(
    options_for, toy_engine, tmp_path, monkeypatch
) -> None:
    write_configs(tmp_path / "models" / "mine", LAYOUTS["small"])
    options = options_for()
    served, visits, pickers = [], [], []

    def load(options, _on_progress):
        served.append(Path(options.model).name)
        return toy_engine, "a machine"

    wait = ModelPicker.wait

    def choose(picker, timeout_seconds=None) -> bool:
        pickers.append(picker)
        visits.append(get(options.port).status_code)
        if len(pickers) == 1:
            picker.choose(str(tmp_path / "models" / "mine"))
            return wait(picker, timeout_seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelPicker, "wait", choose)
    assert serve(options, load=load) == ExitCode.DONE
    assert (served, visits) == (["world", "mine"], [200, 200])


def test_a_signal_ends_the_server_even_as_another_model_is_chosen(
    options_for, toy_engine, tmp_path, monkeypatch
) -> None:
    write_configs(tmp_path / "models" / "mine", LAYOUTS["small"])
    served = []

    def load(options, _on_progress):
        served.append(Path(options.model).name)
        return toy_engine, "a machine"

    def choose(picker, _timeout_seconds=None) -> bool:
        picker.choose(str(tmp_path / "models" / "mine"))
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelPicker, "wait", choose)
    assert serve(options_for(), load=load) == ExitCode.DONE
    assert served == ["world"]


@pytest.mark.usefixtures("known_model")
def test_the_only_model_that_fails_to_load_ends_the_server_with_its_sentence(
    capsys, options_for, monkeypatch
) -> None:
    monkeypatch.setattr("gspn_core.serving.model_picker.embedded_cards", lambda: (WORLD,))

    def load(_options, _on_progress):
        raise ModelUnavailable("model toy cannot be loaded; copy the folder again.")

    options = options_for()
    assert serve(options, load=load) == ExitCode.NO_MODEL
    assert "error: model toy cannot be loaded; copy the folder again.\n" in capsys.readouterr().err
    assert why_not_listen("127.0.0.1", options.port) is None


@pytest.mark.usefixtures("known_model")
def test_the_page_answers_while_the_model_is_loaded(options_for, toy_engine) -> None:
    loading, answered, statuses = threading.Event(), threading.Event(), []
    options = options_for()

    def load(_options, _on_progress):
        loading.set()
        assert answered.wait(60)
        return toy_engine, "a machine"

    def ask() -> None:
        assert loading.wait(60)
        statuses.append(get(options.port).status_code)
        answered.set()

    visitor = threading.Thread(target=ask)
    visitor.start()
    code = serve(options, load=load, wait=lambda: None)
    visitor.join(60)
    assert (code, statuses) == (ExitCode.DONE, [200])


@pytest.mark.usefixtures("known_model")
def test_what_was_asked_for_reaches_the_loader(options_for, toy_engine) -> None:
    asked = []

    def load(options, _on_progress):
        asked.append((options.model, options.device, options.dtype))
        return toy_engine, "a machine"

    options = options_for("--model", "mine", "--device", "cpu", "--dtype", "bfloat16")
    serve(options, load=load, wait=lambda: None)
    assert asked == [("mine", "cpu", "bfloat16")]


@pytest.mark.usefixtures("known_model")
@pytest.mark.parametrize("flags", [(), ("--no-measuring",)])
def test_the_machine_is_measured_in_the_background_unless_that_is_turned_off(
    options_for, toy_card, toy_engine, monkeypatch, flags
) -> None:
    begun = []
    monkeypatch.setattr(Measuring, "begin", lambda _: begun.append(True))

    class Measurable(type(toy_engine)):
        timing_key, timings = "here", tuple

        def measure(self, _should_stop, *, every_mixer):
            yield every_mixer

    engine = Measurable(toy_card)
    serve(options_for(*flags), load=lambda *_: (engine, "a machine"), wait=lambda: None)
    assert begun == ([] if flags else [True])


@pytest.mark.usefixtures("known_model")
def test_what_a_server_held_is_collected_when_it_ends(options_for, toy_engine) -> None:
    during = []
    serve(
        options_for(),
        load=lambda *_: (toy_engine, "a machine"),
        wait=lambda: during.append(gc.get_freeze_count()),
    )
    assert during[0] > 10_000 and gc.get_freeze_count() == 0


@pytest.mark.usefixtures("known_model")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_that_ends_the_server_stops_the_run_and_keeps_its_record(
    name, options_for, toy_engine, toy_card, monkeypatch, capsys
) -> None:
    number, opened, records = getattr(signal, name), [], []
    # Background jobs of a shell and nohup ignore signals, and a server must keep that.
    own = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    before = signal.signal(number, own)

    class Waiting(type(toy_engine)):
        def run(self, plan, should_stop):
            yield PlanReady(plan=plan, model_calls=(1.0, 1.0))
            while not should_stop():
                threading.Event().wait(0.005)
            raise Stopped("stopped.")

    class Opened(RunQueue):
        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, **options)
            opened.append(self)

    def run_and_signal() -> None:
        (queue,) = opened
        job_id = queue.submit(Settings(prompt="a toy"), visitor="anna")
        records.append(queue.folder / job_id / "job.json")
        next(view for view in queue.follow(job_id) if view.state == "running")
        os.kill(os.getpid(), number)
        assert not threading.Event().wait(30), "the signal did not end it"

    monkeypatch.setattr("gspn_core.serving.model_server.RunQueue", Opened)
    try:
        code = serve(options_for(), load=lambda *_: (Waiting(toy_card), "a machine"), wait=run_and_signal)
        assert (code, "Stopped." in capsys.readouterr().out) == (ExitCode.DONE, True)
        assert json.loads(records[0].read_text())["view"]["state"] == "stopped"
        assert signal.getsignal(number) == own
    finally:
        signal.signal(number, before)
