"""The README's table of limits has the figures that the code sets."""

from __future__ import annotations

import ast
import importlib
import re
from fractions import Fraction
from pathlib import Path

import pytest

from gspn_core.serving.server_options import build_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GB": 10**9, "million": 10**6, "h": 3600}
# The option is in GB already.
_OPTION_UNITS = {"--quota-gb": 10**9}


def rows() -> list[tuple[str, list[Fraction], list[str]]]:
    """Return what each row limits, its figures in bytes, seconds or a count, and the names that set them."""
    section = README.split("### Limits on what a visitor can send")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    found = []
    for line in lines:
        what, figures, names = (cell.strip() for cell in line.strip("|").split("|"))
        found.append((what, list(map(_figure, _parts(figures))), re.findall(r"`([^`]+)`", names)))
    return found


def _parts(figures: str) -> list[str]:
    # "30 s, and 1 s for each 32 KiB" is a time and a rate; "4 : 1" is a ratio.
    figures = figures.replace("and 1 s for each ", "").removesuffix(" : 1")
    return re.split(r",\s", figures)


def _figure(text: str) -> Fraction:
    number, unit = re.fullmatch(r"([0-9][0-9,.]*)(?: (\w+))?", text).groups()
    return Fraction(number.replace(",", "")) * _UNITS.get(unit, 1)


def value_of(name: str) -> Fraction:
    """Return an option's default, or the constant of that name, which only one file may set."""
    if name.startswith("--"):
        default = build_parser({}, ROOT).get_default(name.strip("-").replace("-", "_"))
        return Fraction(default) * _OPTION_UNITS.get(name, 1)
    files = [
        path for folder in ("gspn_core", "ui") for path in (ROOT / folder).rglob("*.py") if _sets(path, name)
    ]
    assert len(files) == 1, f"{name} is set in {len(files)} files"
    module = importlib.import_module(".".join(files[0].relative_to(ROOT).with_suffix("").parts))
    return Fraction(getattr(module, name))


def _sets(path: Path, name: str) -> bool:
    text = path.read_text(encoding="utf-8")
    if name not in text:
        return False
    targets = [
        target for node in ast.parse(text).body if isinstance(node, ast.Assign) for target in node.targets
    ]
    return name in {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


@pytest.mark.parametrize(
    ("what", "figures", "names"), rows(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_limit_in_the_readme_is_the_one_that_is_set(what, figures, names):
    assert names, what
    assert figures == [value_of(name) for name in names]


def test_the_table_has_every_limit_on_requests():
    """Every public bound of ui/guard is in the table, so that a new one is not forgotten."""
    listed = {name for _, _, names in rows() for name in names}
    bounds = set()
    for path in (ROOT / "ui" / "guard").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign):
                names = {
                    part.id
                    for target in node.targets
                    for part in ast.walk(target)
                    if isinstance(part, ast.Name)
                }
                bounds |= {name for name in names if re.match(r"M(?:AX|OST)_|.*_SECONDS$", name)}
    assert len(bounds) > 5
    assert bounds <= listed
