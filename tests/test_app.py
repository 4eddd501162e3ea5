import argparse
import re
import socket
import threading

import pytest

import app
from gspn_core.errors import ModelUnavailable, Stopped
from gspn_core.plan import ModelCard, make_plan
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
    def run(self, settings, should_stop):
        yield from (settings, should_stop())


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
        "--model --host --port --jobs --share --auth --mcp --max-queued --quota-gb --device --dtype",
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


def test_a_missing_model_ends_with_its_sentence(capsys, tmp_path) -> None:
    code = app.main(["--model", str(tmp_path / "none"), "--jobs", str(tmp_path)])
    assert code == app.NO_MODEL
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "model_index.json" in error


@pytest.mark.usefixtures("known_model")
def test_a_model_that_cannot_be_read_ends_the_server_with_its_sentence(
    capsys,
    free_port,
    tmp_path,
) -> None:
    def load(_arguments):
        raise ModelUnavailable("model toy cannot be loaded; copy the folder again.")

    code = app.main(["--port", str(free_port), "--jobs", str(tmp_path)], load=load)
    assert code == app.NO_MODEL
    assert "error: model toy cannot be loaded; copy the folder again.\n" in capsys.readouterr().err
    assert app.why_not_listen("127.0.0.1", free_port) is None


@pytest.mark.usefixtures("known_model")
def test_the_page_answers_while_the_model_is_being_read(free_port, tmp_path) -> None:
    import httpx

    loading, answered, statuses = threading.Event(), threading.Event(), []

    def load(_arguments):
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

    def load():
        go.wait(30)
        return Engine(), "a machine"

    engine = app.LateEngine(CARD, load)
    engine.start()
    assert engine.machine() is None
    threading.Timer(0.1, go.set).start()
    assert list(engine.run("settings", lambda: False)) == ["settings", False]
    assert engine.machine() == "a machine"


def test_a_run_can_be_stopped_while_the_model_is_being_read() -> None:
    engine = app.LateEngine(CARD, pytest.fail)
    with pytest.raises(Stopped):
        list(engine.run("settings", lambda: True))


@pytest.mark.parametrize("error", [ModelUnavailable("no weights."), RuntimeError("bad magic")])
def test_a_run_on_a_model_that_could_not_be_read_says_so(error) -> None:
    def load():
        raise error

    engine = app.LateEngine(CARD, load)
    engine.start()
    with pytest.raises(ModelUnavailable, match=str(error)):
        list(engine.run("settings", lambda: False))


def test_a_plan_needs_no_model() -> None:
    engine = app.LateEngine(CARD, pytest.fail)
    settings = Settings(prompt="a toy", mixer="gspn", seed=1)
    assert engine.plan(settings) == make_plan(settings, CARD)


@pytest.mark.usefixtures("known_model")
def test_what_was_asked_for_reaches_the_loader(free_port, tmp_path) -> None:
    asked = []

    def load(arguments: argparse.Namespace):
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
