from __future__ import annotations

import re
from pathlib import Path

import pytest

from gspn_core.models.catalog import Extras, find_card
from gspn_core.serving.model_server import has_fixed_model, hosts_of
from gspn_core.serving.server_options import build_parser, parse_options

FOLDER = Path("/srv/studio")


def parse(*flags: str, **environment: str):
    return parse_options(flags, environment, FOLDER)


def test_help_names_every_option(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        parse("--help")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    options = {option for action in build_parser({}, FOLDER)._actions for option in action.option_strings}
    expected = re.findall(
        "--[a-z-]+",
        "--model --models --vae --adapter --preview --refiner-model "
        "--host --port --jobs --share --auth --allowed-host --root-path --mcp --choose-model "
        "--max-queued --quota-gb --memory --no-examples --no-measuring --device --dtype "
        "--workers --ray",
    )
    assert set(expected) <= options
    assert all(option in shown for option in options)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "0"],
        ["--port", "70000"],
        ["--port", "web"],
        ["--auth", "nopassword"],
        ["--quota-gb", "-1"],
        ["--quota-gb", "nan"],
        ["--max-queued", "0"],
        ["--allowed-host", "a.example:80"],
        ["--root-path", "studio"],
        ["--workers", "0"],
        ["--workers", "many"],
        ["--no-such-option"],
    ],
)
def test_a_bad_argument_ends_with_the_usage(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        parse(*arguments)
    assert end.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_the_environment_gives_host_and_port() -> None:
    options = parse(HOST="0.0.0.0", PORT="7999")
    assert (options.host, options.port) == ("0.0.0.0", 7999)
    assert parse("--port", "7998", PORT="7999").port == 7998


def test_by_default_only_this_machine_is_served_from_the_folders_next_to_the_app() -> None:
    options = parse()
    assert (options.host, options.port) == ("127.0.0.1", 7860)
    assert (options.runs_folder, options.models_folder) == (FOLDER / "jobs", FOLDER / "models")
    assert (options.memory_bytes, options.quota_bytes) == (None, 20_000_000_000)
    assert (options.in_space, options.on_zerogpu) == (False, False)
    assert options.measuring and not parse("--no-measuring").measuring


def test_a_space_and_zerogpu_are_known_by_their_variables() -> None:
    options = parse(SPACE_ID="user/space", SPACES_ZERO_GPU="true")
    assert (options.in_space, options.on_zerogpu) == (True, True)
    assert not parse(SPACES_ZERO_GPU="0").on_zerogpu


def test_a_user_and_a_password_are_split_at_the_first_colon() -> None:
    assert parse("--auth", "me:a:b").auth == ("me", "a:b")


def test_extras_belong_to_the_model_that_they_were_given_for() -> None:
    options = parse("--model", "mine", "--vae", "/vae")
    assert options.with_model("mine").extras == Extras(vae="/vae")
    other = options.with_model("world")
    assert (other.model, other.extras) == ("world", Extras())


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
def test_which_host_names_are_answered_follows_from_the_flags(flags, space, hosts) -> None:
    assert hosts_of(parse(*flags, SPACE_ID=space)) == hosts


@pytest.mark.parametrize(
    ("flags", "space", "is_fixed"),
    [
        ("", "", False),
        ("--host 127.0.0.2", "", False),
        ("--host 0.0.0.0", "", True),
        ("--host 0.0.0.0 --auth me:secret", "", False),
        ("--host 0.0.0.0 --choose-model", "", False),
        ("--allowed-host a.example", "", True),
        ("--root-path /studio", "", True),
        ("--root-path /studio --auth me:secret", "", False),
        ("", "user/space", True),
        ("--choose-model", "user/space", False),
        ("--share", "", True),
        ("--share --choose-model --auth me:secret", "", True),
        ("--mcp --choose-model", "", True),
    ],
)
def test_only_the_host_changes_the_model_of_a_public_page_unless_it_allows_that(
    flags, space, is_fixed
) -> None:
    assert has_fixed_model(parse(*flags.split(), SPACE_ID=space)) == is_fixed


def test_the_page_and_the_engine_give_a_run_the_same_keys() -> None:
    from gspn_core.models.loading import load_model

    options = parse("--device", "cpu")
    card = find_card(options.model, device=options.device, dtype=options.dtype)
    assert card == load_model(options.model, device=options.device, dtype=options.dtype).card
    assert card.fingerprint != find_card(options.model, device="cpu", dtype="bfloat16").fingerprint


def test_workers_are_asked_for_by_number_or_by_gpus_or_by_a_cluster() -> None:
    assert (parse().workers, parse().ray) == (None, "")
    assert parse("--workers", "2").workers == 2 and parse("--workers", "auto").workers == "auto"
    elsewhere = parse("--ray", "10.0.0.1:6379")
    assert (elsewhere.workers, elsewhere.ray) == ("auto", "10.0.0.1:6379")
    assert parse("--ray", "auto", "--workers", "3").workers == 3
