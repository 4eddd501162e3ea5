from __future__ import annotations

import dataclasses
import json
import signal
import threading
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

import gspn_core.cli.command as codes
import gspn_core.cli.generate as command
from gspn_core.errors import AdapterMismatch, BadSetting, GspnError, ModelUnavailable, OutOfMemory
from gspn_core.images.load import reference_of
from gspn_core.images.png_text import read_png
from gspn_core.settings import CHOICES, FIELD_NAMES, INTEGERS, RANGES, STARTING, Settings

ASKED = ["a lake", "--seed", "5"]


def run(engine, *arguments: str, out: Path | None = None) -> int:
    """Run the command on an engine; out is the folder for its pictures."""
    where = [] if out is None else ["--out", str(out)]
    return command.main([*arguments, *where], load=lambda *_names, **_options: engine)


def other_value(name: str) -> str:
    """Return a value for a flag that is not the setting's default."""
    default = getattr(Settings(prompt="a"), name)
    if name in CHOICES:
        return next(choice for choice in CHOICES[name] if choice != default)
    if name in RANGES:
        bounds = RANGES[name]
        other = bounds.minimum if default == bounds.maximum else bounds.maximum
        return f"{other:.12g}" if name != "target" else "64"
    overrides = "128.seed=3; 256.gaussian_sigma=2"
    return {
        "negative_prompt": "fog",
        "aspect": "3:2",
        "ladder": "64 256",
        "upscaler": "4x",
        "overrides": overrides,
    }[name]


def test_it_writes_every_stage_and_prints_where(make_engine, tmp_path, capsys):
    assert run(make_engine(), *ASKED, out=tmp_path / "new" / "folder") == command.DONE
    paths = list(map(Path, capsys.readouterr().out.splitlines()))
    assert [path.name for path in paths] == [
        f"a-lake-5-stage-{i}-{side}x{side}.png" for i, side in enumerate((64, 128, 256))
    ]
    for stage, path in enumerate(paths):
        assert read_png(path)["gspn_studio"]["stage"] == stage
        assert json.loads(path.with_suffix(".json").read_text())["memory_kind"] == "process"
    assert len(list(paths[0].parent.iterdir())) == 6


# LoRA files and a control have to be there, and pictures are files.
PLAIN = [n for n in FIELD_NAMES if n not in ("prompt", "loras", "control", "control_image", *STARTING)]


@pytest.mark.parametrize("name", PLAIN)
def test_every_setting_is_a_flag_that_reaches_the_engine(make_engine, tmp_path, name):
    engine = make_engine()
    value = other_value(name)
    assert run(engine, "a lake", "--" + name.replace("_", "-"), value, out=tmp_path) == command.DONE
    expected = Settings.from_dict({"prompt": "a lake", name: type_of(name)(value)})
    assert engine.planned == [expected]
    assert expected != Settings(prompt="a lake")


def test_lora_files_are_named_one_by_one_and_their_folder_by_another_flag(make_engine, tmp_path, capsys):
    engine = make_engine()
    flags = ["--lora", "ink:0.8", "--lora", "snow", "--loras", str(tmp_path)]
    assert run(engine, *ASKED, *flags, out=tmp_path) == codes.USAGE
    assert engine.planned == [Settings(prompt="a lake", seed=5, loras="ink:0.8, snow:1")]
    assert "has no LoRA file ink here" in capsys.readouterr().err


def type_of(name: str) -> type:
    value = RANGES.get(name)
    if value is None:
        return str
    return int if name in INTEGERS else float


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "photograph.jpg"
    Image.linear_gradient("L").resize((150, 100)).save(path)
    return path


def test_a_picture_to_start_from_reaches_the_engine_with_its_settings(make_engine, tmp_path, photograph):
    engine = make_engine()
    flags = ["--start", str(photograph), "--start-px", "64", "--start-strength", "0.5"]
    assert run(engine, *ASKED, *flags, out=tmp_path / "out") == command.DONE
    (start,), (settings,) = engine.starts, engine.planned
    assert settings.start == reference_of(start) and start.size == (150, 100)
    assert (settings.start_px, settings.start_strength) == (64, 0.5)


def test_an_extended_picture_is_repeated_from_what_was_written(make_engine, tmp_path, photograph):
    drawn, again = make_engine(), make_engine()
    flags = ["--start", str(photograph), "--start-strength", "0.9", "--target", "128"]
    flags += ["--extend", "right 50%, top 25"]
    assert run(drawn, *ASKED, *flags, out=tmp_path / "out") == command.DONE
    assert drawn.planned[0].extend == "right 50 top 25"
    written = sorted((tmp_path / "out").glob("*.png"))[-1]
    flags = ["--again", str(written), "--start", str(photograph)]
    assert run(again, *flags, out=tmp_path / "again") == command.DONE
    assert again.ran[0] == drawn.ran[0]


def test_an_extension_that_cannot_be_read_is_refused_in_one_sentence(
    make_engine, tmp_path, photograph, capsys
):
    flags = ["--start", str(photograph), "--start-strength", "0.9", "--extend", "left 300"]
    assert run(make_engine(), *ASKED, *flags, out=tmp_path / "out") == codes.USAGE
    assert "left is 300 percent, at most 100 fit at a side; try 100." in capsys.readouterr().err


def test_an_init_image_that_cannot_be_used_is_reported_before_the_model_is_read(
    make_engine, tmp_path, capsys
):
    engine = make_engine()
    (tmp_path / "text.png").write_text("no picture")
    assert run(engine, *ASKED, "--start", str(tmp_path / "text.png"), out=tmp_path / "out") == codes.USAGE
    assert "text.png is not an image that can be read" in capsys.readouterr().err
    assert engine.ran == []


def test_a_run_from_a_picture_is_repeated_with_that_picture_alone(make_engine, tmp_path, photograph, capsys):
    assert run(make_engine(), *ASKED, "--start", str(photograph), out=tmp_path / "out") == command.DONE
    written = sorted((tmp_path / "out").glob("*.png"))[-1]
    assert run(make_engine(), "--again", str(written), out=tmp_path / "again") == codes.USAGE
    assert "was made from a picture of 150x100 px; give that one with --start." in capsys.readouterr().err
    engine = make_engine()
    again = ["--again", str(written), "--start", str(photograph)]
    assert run(engine, *again, out=tmp_path / "again") == command.DONE
    assert engine.ran[0].start == reference_of(engine.starts[0])


def test_a_second_run_keeps_the_files_of_the_first(make_engine, tmp_path, capsys):
    for _ in range(2):
        assert run(make_engine(), *ASKED, out=tmp_path) == command.DONE
    paths = capsys.readouterr().out.splitlines()
    assert len(set(paths)) == 6
    assert Path(paths[3]).name == "a-lake-5-2-stage-0-64x64.png"


@pytest.mark.parametrize("prompt", ["../../etc/passwd", "/", "湖", "a" * 500, "-- x"])
def test_any_prompt_makes_a_name_inside_the_folder(make_engine, tmp_path, prompt):
    out = tmp_path / "out"
    assert (
        command.main(["--out", str(out), "--", prompt], load=lambda *_a, **_k: make_engine()) == command.DONE
    )
    assert len(list(out.iterdir())) == 6
    assert list(tmp_path.iterdir()) == [out]


def test_json_is_one_object_that_describes_the_run(make_engine, tmp_path, capsys):
    assert run(make_engine(), *ASKED, "--json", out=tmp_path) == command.DONE
    record = json.loads(capsys.readouterr().out)
    assert record["state"] == "done"
    assert record["settings"]["seed"] == 5
    assert [stage["width"] for stage in record["stages"]] == [64, 128, 256]
    assert all(Path(path).is_file() for path in record["paths"])


def test_progress_goes_to_stderr_and_quiet_says_nothing(make_engine, tmp_path, capsys):
    run(make_engine(), *ASKED, out=tmp_path)
    assert capsys.readouterr().err.count("done in") == 3
    run(make_engine(), *ASKED, "--quiet", out=tmp_path)
    assert capsys.readouterr().err == ""


def test_a_notice_of_the_plan_is_printed(make_engine, tmp_path, capsys):
    engine = make_engine()
    plan = engine.plan
    engine.plan = lambda settings: dataclasses.replace(
        plan(settings), notices=("It does not know ‘dragon’.",)
    )
    assert run(engine, *ASKED, out=tmp_path) == command.DONE
    assert "does not know" in capsys.readouterr().err


def test_a_preview_can_be_watched_while_steps_run_and_is_gone_afterwards(make_engine, tmp_path):
    seen = []
    engine = make_engine(before_event=lambda _settings, number: seen.append((number, any_preview(tmp_path))))
    run(engine, *ASKED, out=tmp_path)
    assert [there for number, there in seen if number in (2, 3, 4)] == [False, True, True]
    assert not any_preview(tmp_path)
    seen.clear()
    run(engine, *ASKED, "--no-preview", out=tmp_path)
    assert not any(there for _, there in seen)


def any_preview(folder: Path) -> bool:
    return any(folder.glob("*-preview.jpg"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadSetting("target", "target must be 64."), codes.USAGE),
        (ModelUnavailable("There is no model."), codes.NO_MODEL),
        (AdapterMismatch("The adapter does not fit."), codes.NO_MODEL),
        (OutOfMemory("The stage needs 9 GB."), codes.NO_MEMORY),
        (GspnError("Something else."), codes.FAILED),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code_and_keeps_what_was_written(
    make_engine, tmp_path, capsys, error, code
):
    def breaks(_settings: Settings, number: int) -> None:
        if number == 9:
            raise error

    assert run(make_engine(before_event=breaks), *ASKED, out=tmp_path) == code
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == f"error: {error}"
    assert [Path(path).is_file() for path in printed.out.splitlines()] == [True]


@pytest.mark.parametrize(
    "arguments",
    [
        ["a", "--no-such-flag"],
        ["a", "--seed", "many"],
        ["a", "--mixer", "none"],
    ],
)
def test_wrong_usage_exits_with_two(arguments):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments, load=lambda *_names, **_options: pytest.fail("nothing is loaded"))
    assert caught.value.code == codes.USAGE


@pytest.mark.parametrize("arguments", [[""], ["a", "--seed", "-1"], ["a", "--aspect", "9:1"]])
def test_a_bad_setting_is_refused_before_the_model_is_loaded(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = command.main(arguments, load=lambda *_names, **_options: pytest.fail("nothing is loaded"))
    assert code == codes.USAGE
    assert capsys.readouterr().err.startswith("error: ")


def test_a_missing_model_has_its_exit_code(capsys, tmp_path):
    def load(name: str, *, device: str, dtype: str, **_options):
        raise ModelUnavailable(f"There is no model {name} ({device}, {dtype}).")

    code = command.main(["a", "--model", "x", "--device", "cpu", "--out", str(tmp_path)], load=load)
    assert code == codes.NO_MODEL
    assert capsys.readouterr().err == "error: There is no model x (cpu, auto).\n"


def test_a_missing_folder_of_weights_is_reported_in_one_line(tmp_path, capsys):
    code = command.main(["a", "--model", str(tmp_path / "none"), "--out", str(tmp_path)])
    assert code == codes.NO_MODEL
    (line,) = capsys.readouterr().err.splitlines()
    assert "model_index.json" in line


def test_a_folder_that_cannot_be_written_has_its_code(make_engine, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    engine = make_engine()
    assert run(engine, *ASKED, out=tmp_path / "file") == codes.NOT_WRITTEN
    assert "could not be written" in capsys.readouterr().err
    assert engine.ran == []


def test_a_disk_that_fills_up_has_its_code_and_keeps_the_earlier_stages(
    make_engine, tmp_path, capsys, monkeypatch
):
    write = command.write_png

    def fills_up(path, image, info):
        if info["stage"] == 1:
            raise OSError(28, "No space left on device")
        write(path, image, info)

    monkeypatch.setattr(command, "write_png", fills_up)
    assert run(make_engine(), *ASKED, out=tmp_path) == codes.NOT_WRITTEN
    printed = capsys.readouterr()
    assert "No space left on device" in printed.err
    assert len(printed.out.splitlines()) == 1


def test_the_first_interrupt_ends_the_run_at_its_next_step_and_keeps_finished_stages(
    make_engine, tmp_path, capsys
):
    def interrupt(_settings: Settings, number: int) -> None:
        if number == 9:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    engine = make_engine(before_event=interrupt)
    assert run(engine, *ASKED, "--json", out=tmp_path) == command.INTERRUPTED
    assert engine.stopped_after == [9]
    record = json.loads(capsys.readouterr().out)
    assert (record["state"], len(record["paths"])) == ("stopped", 1)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interrupt_leaves_at_once(make_engine, tmp_path, capsys):
    def interrupt(_settings: Settings, number: int) -> None:
        if number == 9:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    engine = make_engine(before_event=interrupt)
    assert run(engine, *ASKED, out=tmp_path) == command.INTERRUPTED
    assert engine.stopped_after == []
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_it_runs_outside_the_main_thread_too(make_engine, tmp_path):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(run(make_engine(), *ASKED, out=tmp_path)))
    thread.start()
    thread.join(90)
    assert codes == [command.DONE]


def test_the_real_engine_on_a_tiny_model_writes_what_it_planned(tiny_model, tmp_path, capsys):
    from gspn_core.engine import Engine

    engine = Engine(tiny_model)
    arguments = ["lake", "--target", "128", "--num-inference-steps", "2", "--seed", "1"]
    for folder in ("first", "second"):
        assert run(engine, *arguments, out=tmp_path / folder) == command.DONE
    paths = list(map(Path, capsys.readouterr().out.splitlines()))
    assert [path.name for path in paths[:2]] == ["lake-1-stage-0-64x64.png", "lake-1-stage-1-128x128.png"]
    for first, second in zip(paths[:2], paths[2:], strict=True):
        assert first.read_bytes() == second.read_bytes()
    with Image.open(paths[1]) as picture:
        assert picture.size == (128, 128)


def written(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def test_a_picture_is_made_again_from_its_own_text_to_the_same_bytes(make_engine, tmp_path):
    first, second = make_engine(), make_engine()
    assert run(first, *ASKED, "--gaussian-sigma", "2", out=tmp_path / "a") == command.DONE
    picture = written(tmp_path / "a")[-1]
    assert run(second, "--again", str(picture), out=tmp_path / "b") == command.DONE
    assert second.ran[0].gaussian_sigma == 2.0
    assert second.ran[0].seed == 5
    pairs = zip(written(tmp_path / "a"), written(tmp_path / "b"), strict=True)
    assert all(a.read_bytes() == b.read_bytes() for a, b in pairs)


def test_a_flag_overrules_the_pictures_own_setting(make_engine, tmp_path):
    engine = make_engine()
    run(engine, *ASKED, out=tmp_path)
    again = ["--again", str(written(tmp_path)[0])]
    assert run(engine, "a hill", *again, "--seed", "6", out=tmp_path) == command.DONE
    assert (engine.ran[1].prompt, engine.ran[1].seed) == ("a hill", 6)
    assert engine.ran[1].gaussian_sigma == engine.ran[0].gaussian_sigma


def test_other_versions_are_reported(make_engine, tmp_path, capsys, monkeypatch):
    run(make_engine(), *ASKED, out=tmp_path)
    monkeypatch.setattr(command, "versions", lambda: {"torch": "9.9"})
    run(make_engine(), "--again", str(written(tmp_path)[0]), out=tmp_path)
    assert "(here 9.9); the bytes may differ" in capsys.readouterr().err


def wrote(path: Path, **info) -> str:
    """Write a picture with an info of its own and return its path."""
    texts = PngImagePlugin.PngInfo()
    known = {"format": 1, "settings": {"prompt": "a lake", "seed": 3}, "stage": 0}
    texts.add_text("gspn_studio", json.dumps({**known, **info}))
    Image.new("RGB", (64, 64)).save(path, pnginfo=texts)
    return str(path)


@pytest.mark.parametrize("there", [[1, 2], "text", 3, None, {"torch": ["x" * 1000]}])
def test_whatever_a_picture_says_of_versions_its_settings_are_repeated(make_engine, tmp_path, capsys, there):
    picture, engine = wrote(tmp_path / "picture.png", versions=there), make_engine()
    assert run(engine, "--again", picture, out=tmp_path / "out") == command.DONE
    assert engine.ran[0].seed == 3
    assert all(len(line) < 400 for line in capsys.readouterr().err.splitlines())


def test_another_model_than_the_pictures_own_is_reported(make_engine, tmp_path, capsys):
    picture = wrote(tmp_path / "picture.png", model="far/away")
    assert run(make_engine(), "--again", picture, out=tmp_path / "a") == command.DONE
    assert "note: far/away made the picture" in capsys.readouterr().err
    assert run(make_engine(), "--again", str(written(tmp_path / "a")[0]), out=tmp_path / "b") == command.DONE
    assert "made the picture" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["missing", "foreign", "no picture"])
def test_a_picture_without_settings_is_refused_in_a_sentence(make_engine, tmp_path, capsys, kind):
    path = tmp_path / "picture.png"
    if kind == "foreign":
        Image.new("RGB", (8, 8)).save(path)
    elif kind == "no picture":
        path.write_text("hello")
    assert run(make_engine(), "--again", str(path), out=tmp_path) == codes.USAGE
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_without_a_prompt_the_command_says_what_is_missing(make_engine, tmp_path, capsys):
    assert run(make_engine(), out=tmp_path) == codes.USAGE
    assert "prompt is missing" in capsys.readouterr().err
