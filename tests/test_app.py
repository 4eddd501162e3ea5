import argparse
import json
import os
import re
import signal
import socket
import threading
from pathlib import Path

import httpx
import pytest

import app
from gspn_core.errors import ModelUnavailable, Stopped
from gspn_core.events import ModelProgress, PlanReady
from gspn_core.models.layout import LAYOUTS, write_configs
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import ModelCard
from gspn_core.settings import Settings

CARD = ModelCard(
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


class Engine:
    def plan(self, settings):
        return make_plan(settings, CARD)

    def run(self, plan, should_stop):
        yield from (plan, should_stop())


@pytest.fixture
def known_model(monkeypatch) -> None:
    monkeypatch.setattr(app, "find_card", lambda _name, **_where: CARD)


@pytest.fixture
def taken_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_help_names_every_option(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        app.main(["--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    options = {option for action in app.build_parser()._actions for option in action.option_strings}
    expected = re.findall(
        "--[a-z-]+",
        "--model --models --vae --adapter --preview --refiner-model "
        "--host --port --jobs --share --auth --allowed-host --root-path --mcp "
        "--max-queued --quota-gb --device --dtype",
    )
    assert set(expected) <= options
    assert all(option in told for option in options)


@pytest.mark.usefixtures("known_model")
def test_a_taken_port_ends_with_one_sentence(capsys, taken_port, tmp_path) -> None:
    code = app.main(["--port", str(taken_port), "--jobs", str(tmp_path)], load=pytest.fail)
    assert code == app.USAGE
    error = capsys.readouterr().err
    assert error == (
        f"error: Port {taken_port} on 127.0.0.1 is taken by another program; choose another with --port.\n"
    )


def test_the_page_opens_with_the_embedded_model_where_the_one_asked_for_is_missing(
    capsys, free_port, tmp_path
) -> None:
    asked, shown = [], []

    def load(arguments, _told):
        asked.append((arguments.model, arguments.with_vae))
        return Engine(), "a machine"

    def look() -> None:
        config = httpx.get(f"http://127.0.0.1:{free_port}/config", timeout=60, trust_env=False).json()
        values = [part["props"].get("value") for part in config["components"]]
        shown.extend(value["trouble"] for value in values if isinstance(value, dict) and "trouble" in value)

    arguments = ["--model", str(tmp_path / "none"), "--vae", str(tmp_path / "vae"), "--jobs", str(tmp_path)]
    assert app.main([*arguments, "--port", str(free_port)], load=load, forever=look) == app.DONE
    assert asked == [("world", None)]
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "model_index.json" in error
    assert "model_index.json" in shown[0] and shown[0].endswith("The embedded model runs in its place.")


def test_another_model_is_served_at_the_same_address_once_it_is_chosen(free_port, tmp_path) -> None:
    write_configs(tmp_path / "models" / "mine", LAYOUTS["small"])
    served, visits = [], []

    def load(arguments, _told):
        served.append(Path(arguments.model).name)
        return Engine(), "a machine"

    shelves = []
    wait = app.ModelPicker.wait

    def choose(shelf, timeout_seconds=None) -> bool:
        shelves.append(shelf)
        visits.append(httpx.get(f"http://127.0.0.1:{free_port}/", timeout=60, trust_env=False).status_code)
        if len(shelves) == 1:
            shelf.choose(str(tmp_path / "models" / "mine"))
            return wait(shelf, timeout_seconds)
        raise KeyboardInterrupt

    app.ModelPicker.wait = choose
    try:
        flags = [
            "--port",
            str(free_port),
            "--jobs",
            str(tmp_path / "jobs"),
            "--models",
            str(tmp_path / "models"),
        ]
        assert app.main(flags, load=load) == app.DONE
    finally:
        app.ModelPicker.wait = wait
    assert (served, visits) == (["world", "mine"], [200, 200])


def test_a_model_that_is_dropped_leaves_off_being_read() -> None:
    begun, go, ended = threading.Event(), threading.Event(), []

    def load(told):
        begun.set()
        go.wait(30)
        try:
            told(ModelProgress(doing="read", part="unet", done_bytes=1, total_bytes=2))
        finally:
            ended.append(True)

    engine = app.EngineHost(CARD, load)
    engine.start()
    assert begun.wait(30)
    engine.drop()
    go.set()
    assert engine.wait(30) and ended == [True]
    assert isinstance(engine.error, Stopped)
    assert engine.weights(Settings(prompt="a toy")) is None


@pytest.mark.usefixtures("known_model")
def test_the_only_model_that_cannot_be_read_ends_the_server_with_its_sentence(
    capsys,
    free_port,
    tmp_path,
) -> None:
    def load(_arguments, _told):
        raise ModelUnavailable("model toy cannot be loaded; copy the folder again.")

    code = app.main(["--port", str(free_port), "--jobs", str(tmp_path)], load=load)
    assert code == app.NO_MODEL
    assert "error: model toy cannot be loaded; copy the folder again.\n" in capsys.readouterr().err
    assert app.why_not_listen("127.0.0.1", free_port) is None


@pytest.mark.usefixtures("known_model")
def test_the_page_answers_while_the_model_is_being_read(free_port, tmp_path) -> None:
    loading, answered, statuses = threading.Event(), threading.Event(), []

    def load(_arguments, _told):
        loading.set()
        assert answered.wait(60)
        return Engine(), "a machine"

    def ask() -> None:
        assert loading.wait(60)
        statuses.append(httpx.get(f"http://127.0.0.1:{free_port}/", timeout=60, trust_env=False).status_code)
        answered.set()

    visitor = threading.Thread(target=ask)
    visitor.start()
    code = app.main(["--port", str(free_port), "--jobs", str(tmp_path)], load=load, forever=lambda: None)
    visitor.join(60)
    assert (code, statuses) == (app.DONE, [200])


@pytest.mark.usefixtures("known_model")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_that_ends_the_server_stops_the_run_and_keeps_its_record(
    name, free_port, tmp_path, monkeypatch, capsys
) -> None:
    number, opened, records = getattr(signal, name), [], []
    # A shell's background and nohup leave signals ignored, which a server keeps.
    own = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    before = signal.signal(number, own)

    class Waiting(Engine):
        def run(self, plan, should_stop):
            yield PlanReady(plan=plan, model_calls=(1.0, 1.0))
            while not should_stop():
                threading.Event().wait(0.005)
            raise Stopped("stopped.")

    class Opened(app.RunQueue):
        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, **options)
            opened.append(self)

    def run_and_signal() -> None:
        (jobs,) = opened
        job_id = jobs.submit(Settings(prompt="a toy"), visitor="anna")
        records.append(jobs.folder / job_id / "job.json")
        next(view for view in jobs.follow(job_id) if view.state == "running")
        os.kill(os.getpid(), number)
        assert not threading.Event().wait(30), "the signal did not end it"

    monkeypatch.setattr(app, "RunQueue", Opened)
    flags = ["--port", str(free_port), "--jobs", str(tmp_path)]
    try:
        code = app.main(flags, load=lambda *_: (Waiting(), "a machine"), forever=run_and_signal)
        assert (code, "Stopped." in capsys.readouterr().out) == (app.DONE, True)
        assert json.loads(records[0].read_text())["view"]["state"] == "stopped"
        assert signal.getsignal(number) == own
    finally:
        signal.signal(number, before)


@pytest.mark.usefixtures("known_model")
def test_a_closed_terminal_ends_no_server_that_is_to_outlive_it(free_port, tmp_path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        flags = ["--port", str(free_port), "--jobs", str(tmp_path)]
        seen = []
        app.main(
            flags,
            load=lambda *_: (Engine(), "a machine"),
            forever=lambda: seen.append(signal.getsignal(signal.SIGHUP)),
        )
        assert seen == [signal.SIG_IGN]
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "0"],
        ["--port", "70000"],
        ["--port", "web"],
        ["--auth", "nobody"],
        ["--quota-gb", "-1"],
        ["--quota-gb", "nan"],
        ["--max-queued", "0"],
        ["--no-such-option"],
    ],
)
def test_a_bad_argument_ends_with_the_usage(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        app.main(arguments)
    assert end.value.code == app.USAGE
    assert "Traceback" not in capsys.readouterr().err


def test_the_environment_gives_host_and_port(monkeypatch) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("PORT", "7999")
    arguments = app.build_parser().parse_args([])
    assert (arguments.host, arguments.port) == ("0.0.0.0", 7999)
    assert app.build_parser().parse_args(["--port", "7998"]).port == 7998


def test_without_anything_said_only_this_machine_is_served(monkeypatch) -> None:
    for name in ("HOST", "PORT", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    arguments = app.build_parser().parse_args([])
    assert (arguments.host, arguments.port) == ("127.0.0.1", 7860)


@pytest.mark.parametrize("host", ["no such host", "203.0.113.7"])
def test_a_host_that_is_not_here_is_said_in_a_sentence(host) -> None:
    said = app.why_not_listen(host, 7860)
    assert re.fullmatch(r".* is no address.*\.", said)


def test_a_user_and_a_password_are_split_at_the_first_colon() -> None:
    assert app.build_parser().parse_args(["--auth", "me:a:b"]).auth == ("me", "a:b")


def test_a_run_waits_for_the_model() -> None:
    go = threading.Event()

    def load(_told):
        go.wait(30)
        return Engine(), "a machine"

    engine = app.EngineHost(CARD, load)
    engine.start()
    assert engine.machine() is None
    threading.Timer(0.1, go.set).start()
    assert list(engine.run("plan", lambda: False)) == ["plan", False]
    assert engine.machine() == "a machine"


def test_a_run_can_be_stopped_while_the_model_is_being_read() -> None:
    engine = app.EngineHost(CARD, pytest.fail)
    with pytest.raises(Stopped):
        list(engine.run("plan", lambda: True))


@pytest.mark.parametrize("error", [ModelUnavailable("no weights."), RuntimeError("bad magic")])
def test_a_run_on_a_model_that_could_not_be_read_says_so(error) -> None:
    def load(_told):
        raise error

    engine = app.EngineHost(CARD, load)
    engine.start()
    with pytest.raises(ModelUnavailable, match=str(error)):
        list(engine.run("plan", lambda: False))


def test_a_plan_needs_no_model() -> None:
    engine = app.EngineHost(CARD, pytest.fail)
    settings = Settings(prompt="a toy", mixer="gspn", seed=1)
    assert engine.plan(settings) == make_plan(settings, CARD)


@pytest.mark.usefixtures("known_model")
def test_what_was_asked_for_reaches_the_loader(free_port, tmp_path) -> None:
    asked = []

    def load(arguments: argparse.Namespace, _told):
        asked.append((arguments.model, arguments.device, arguments.dtype))
        return Engine(), "a machine"

    flags = ["--model", "mine", "--device", "cpu", "--dtype", "bfloat16"]
    app.main([*flags, "--port", str(free_port), "--jobs", str(tmp_path)], load=load, forever=lambda: None)
    assert asked == [("mine", "cpu", "bfloat16")]


def test_the_page_and_the_engine_give_a_run_the_same_keys() -> None:
    from gspn_core.models.catalog import find_card
    from gspn_core.models.loading import load_model

    arguments = app.build_parser().parse_args(["--device", "cpu"])
    card = find_card(arguments.model, device=arguments.device, dtype=arguments.dtype)
    assert card == load_model(arguments.model, device=arguments.device, dtype=arguments.dtype).card
    assert card.fingerprint != find_card(arguments.model, device="cpu", dtype="bfloat16").fingerprint


@pytest.mark.usefixtures("known_model")
def test_a_login_and_tools_for_agents_are_refused_together(capsys, free_port, tmp_path) -> None:
    flags = ["--mcp", "--auth", "me:secret", "--port", str(free_port), "--jobs", str(tmp_path)]
    assert app.main(flags, load=pytest.fail) == app.USAGE
    error = capsys.readouterr().err
    assert error.startswith("error: --mcp cannot be served with --auth") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "space", "hosts"),
    [
        ([], "", ("localhost", "127.0.0.1", "[::1]", "127.0.0.1")),
        (["--allowed-host", "a.example"], "", ("localhost", "127.0.0.1", "[::1]", "a.example")),
        (["--host", "0.0.0.0"], "", ()),
        (["--share"], "", ()),
        ([], "user/space", ()),
    ],
)
def test_which_host_names_are_answered_follows_from_the_flags(monkeypatch, flags, space, hosts) -> None:
    monkeypatch.setenv("SPACE_ID", space)
    for name in ("HOST", "GRADIO_SERVER_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert app.hosts_of(app.build_parser().parse_args(flags)) == hosts


@pytest.mark.parametrize("flags", [["--allowed-host", "a.example:80"], ["--root-path", "studio"]])
def test_a_host_with_a_port_and_a_path_without_a_slash_are_refused(flags, capsys) -> None:
    with pytest.raises(SystemExit):
        app.main(flags)
    assert "must " in capsys.readouterr().err
