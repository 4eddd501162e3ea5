"""The README's commands and its Python example are true as they stand."""

import re
from pathlib import Path

import pytest

from gspn_core.models.catalog import WORLD
from gspn_core.studies.axis import cells_of
from gspn_core.studies.grid_file import read_grid

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_shows_both_commands_and_make_knows_them():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert f"make {command}" in README
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


def test_every_file_that_the_readme_points_to_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing


@pytest.mark.parametrize("name", ["README.md", "Spaces.md", "assets/world/README.md"])
def test_no_figure_is_left_to_be_filled_in(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"^[A-Z]{5,}$|@[A-Z_]+@|\bTBD\b", text, re.MULTILINE)


def test_every_module_that_the_readme_runs_exists():
    modules = set(re.findall(r"python -m (gspn_core[\w.]*)", README))
    assert modules
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_the_space_runs_the_gradio_that_is_pinned():
    pinned = re.search(r"^gradio==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)[1]
    front_matter = README.split("---")[1]
    assert re.search(r"^sdk: gradio$", front_matter, re.MULTILINE)
    assert re.search(rf"^sdk_version: {re.escape(pinned)}$", front_matter, re.MULTILINE)
    assert re.search(r"^app_file: app.py$", front_matter, re.MULTILINE)


def test_a_space_knows_every_key_of_the_front_matter():
    keys = dict(line.split(": ", 1) for line in README.split("---")[1].strip().splitlines())
    known = {
        *(
            "title",
            "emoji",
            "colorFrom",
            "colorTo",
            "sdk",
            "sdk_version",
            "python_version",
            "app_file",
            "license",
        ),
        *("short_description", "pinned", "models", "datasets", "tags", "thumbnail", "suggested_hardware"),
        *("preload_from_hub", "startup_duration_timeout", "fullWidth", "header", "disable_embedding"),
    }
    assert set(keys) <= known
    assert len(keys["short_description"]) <= 60
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {keys["colorFrom"], keys["colorTo"]} <= colours
    assert keys["sdk"] == "gradio"
    assert (ROOT / keys["app_file"]).is_file()


def test_the_python_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(from gspn_core.*?)```", README, re.DOTALL)
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) <= 12
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    exec(compile(example, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.glob("*.png")} == {"256.png", "512.png"}
    assert "step 1 of" in capsys.readouterr().out


def test_the_grid_of_the_example_is_one(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    (tmp_path / "settings.json").write_text(example)
    grid = read_grid(tmp_path / "settings.json", WORLD)
    assert len(cells_of(grid.base, grid.axes)) == 6


@pytest.mark.parametrize("name", ["LICENSE", "Spaces.md", "requirements.txt", "pyproject.toml", ".ci/run"])
def test_what_every_clone_needs_is_there(name):
    assert (ROOT / name).is_file()
