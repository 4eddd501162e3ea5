"""Who may import whom, read from the syntax trees; and that importing the page's side loads no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = {
    "prompts",
    "errors",
    "setting_values",
    "region",
    "tiling",
    "extension",
    "lora",
    "settings",
    "kinds",
    "planning",
    "events",
}

# What each part of the project may import of the others.
MAY_IMPORT = {
    "errors": set(),
    "setting_values": {"errors"},
    "region": {"errors"},
    "tiling": set(),
    "extension": {"errors"},
    "lora": {"errors"},
    "prompts": set(),
    "settings": {"errors", "setting_values", "region", "extension", "lora"},
    "kinds": {"settings"},
    "planning": {"errors", "tiling", "prompts", "setting_values", "extension", "lora", "settings", "kinds"},
    "events": {"errors", "settings", "kinds", "planning"},
    "files": {"errors"},
    "images": {"errors", "prompts", "setting_values", "extension", "lora", "settings", "planning", "files"},
    "ops": {"errors"},
    "attention": {"errors", "settings", "ops"},
    "superres": {"errors", "tiling", "attention"},
    "runtime": DATA,
    "backbones": DATA | {"attention", "superres", "runtime"},
    "controls": DATA | {"backbones", "attention", "runtime"},
    "cascade": DATA | {"images", "ops", "attention", "backbones", "controls", "runtime"},
    "world": {"errors"},
    "models": DATA | {"attention", "superres", "backbones", "runtime", "world"},
    "metrics": {"errors", "prompts", "world", "models"},
    "engine": DATA | {"images", "attention", "backbones", "cascade", "runtime", "models"},
    "training": DATA
    | {"files", "world", "metrics", "ops", "attention", "superres", "backbones", "cascade"}
    | {"runtime", "models"},
    "evaluation": DATA
    | {"files", "images", "world", "metrics", "training", "ops", "attention", "superres", "backbones"}
    | {"cascade", "runtime", "models", "engine", "controls"},
    "bench": DATA
    | {"ops", "attention", "backbones", "cascade", "runtime", "models", "engine", "training"}
    | {"metrics", "runs", "studies", "remote"},
    "runs": DATA | {"files", "images", "metrics"},
    "remote": DATA | {"runtime"},
    "studies": DATA | {"files", "images", "metrics", "runs"},
    "serving": DATA | {"models", "metrics", "runs", "studies", "runtime", "engine", "remote", "ui"},
    "cli": DATA | {"files", "images", "engine", "metrics", "models", "runs", "studies"},
    "__main__": {"cli"},
    "ui": DATA | {"files", "images", "runs", "studies"},
    "app": {"serving"},
}

_TORCH = {"ops", "attention", "runtime", "backbones", "controls", "cascade", "models", "engine", "metrics"}
_TORCH |= {"superres", "training", "evaluation", "bench"}

# The only places that may import what is heavy or belongs to one place.
ONLY_IN = {
    "torch": _TORCH,
    "diffusers": {"attention", "backbones", "controls", "cascade", "models"}
    | {"training", "evaluation", "bench"},
    "spandrel": {"superres"},
    "transformers": {"backbones", "models", "training", "evaluation", "bench"},
    "gradio": {"ui", "app"},
    "spaces": {"app"},
    "triton": {"ops"},
    "ray": {"remote"},
    "numba": {"ops", "world"},
}


def sources() -> list[Path]:
    files = [*ROOT.glob("gspn_core/**/*.py"), *ROOT.glob("ui/**/*.py"), *ROOT.glob("app.py")]
    return sorted(files)


def part_of(path: Path) -> str:
    """Return the part of the project that a file belongs to: a package or a module directly in gspn_core."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "gspn_core" else parts[0]


def imports(path: Path, *, at_import_time: bool = False) -> set[str]:
    """Return the dotted names that a file imports; at_import_time leaves out functions and TYPE_CHECKING."""
    pending: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    names = set()
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif not (at_import_time and _runs_later(node)):
            pending.extend(ast.iter_child_nodes(node))
    return names


def _runs_later(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))


def owner(name: str) -> str | None:
    """Return the part of the project that a dotted name belongs to, None for other packages."""
    first, *rest = name.split(".")
    if first == "gspn_core":
        return rest[0] if rest else "gspn_core"
    return first if first in ("ui", "app") else None


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_its_part_may(path):
    part = part_of(path)
    if path.name == "__init__.py" and part == "__init__":
        assert imports(path) == set()
        return
    if path.name == "__main__.py" and part == "models":
        assert imports(path) == {"sys", "gspn_core.cli.models.main"}
        return
    assert part in MAY_IMPORT, f"{path} belongs to no known part; say in MAY_IMPORT what it may import"
    for name in imports(path):
        mine = owner(name)
        assert mine in MAY_IMPORT[part] | {part, None}, f"{path} imports {name}"
        package = name.split(".")[0]
        assert part in ONLY_IN.get(package, {part}), f"{path} imports {package}"


def test_triton_is_imported_with_its_modules_in_the_files_of_one_folder_only():
    at_once = {path.relative_to(ROOT).as_posix(): imports(path, at_import_time=True) for path in sources()}
    users = {path for path, names in at_once.items() if any(name.split(".")[0] == "triton" for name in names)}
    ours = {f"gspn_core/ops/triton/{name}.py" for name in ("scan", "forward", "backward", "lines")}
    assert users == ours
    importers = {path for path, names in at_once.items() if any("ops.triton" in name for name in names)}
    assert importers <= ours, "the Triton files may only be imported within a function"


def loaded_by(*modules: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter holds after importing modules."""
    code = f"import sys\nimport {', '.join(modules)}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_data_and_jobs_load_without_torch_diffusers_or_gradio():
    loaded = loaded_by(
        "gspn_core.settings", "gspn_core.planning.plan", "gspn_core.events", "gspn_core.studies.runner"
    )
    assert not {"torch", "diffusers", "transformers", "gradio", "numpy"} & loaded


def test_the_command_line_loads_without_torch():
    assert not {"torch", "diffusers", "gradio"} & loaded_by("gspn_core.cli.generate", "gspn_core.cli.grid")


def test_a_card_is_found_without_torch():
    assert not {"torch", "diffusers", "gradio"} & loaded_by("gspn_core.models.catalog")


def test_the_page_loads_without_torch():
    loaded = loaded_by("ui.page")
    assert "gradio" in loaded
    assert not {"torch", "diffusers", "transformers"} & loaded


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_importing_reads_no_environment_and_starts_nothing(path):
    if path.name == "app.py":
        return
    forbidden = {
        "environ",
        "getenv",
        "Thread",
        "Popen",
        "run",
        "open",
        "print",
        "is_available",
        "manual_seed",
    }
    for statement in ast.parse(path.read_text("utf-8")).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
            continue
        if isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test):
            continue
        names = {node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
        names |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        assert not names & forbidden, f"{path} does something when it is imported: {names & forbidden}"
