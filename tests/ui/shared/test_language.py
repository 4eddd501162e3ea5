"""The catalogues of other languages: each English text of the page has an entry in every one."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gspn_core.errors import BadSetting
from gspn_core.models.catalog import find_card
from gspn_core.planning.plan import make_plan
from gspn_core.settings import FIELD_NAMES
from ui.form.form import initial_values, settings_from
from ui.shared.part import PAGE, catalogues
from ui.shared.strings import labels, page_strings

STRINGS = PAGE / "shared" / "strings"
LANGUAGES = [code for code in page_strings.LANGUAGES if code != "en"]
# What programs are answered, and how numbers are written.
NOT_ON_THE_PAGE = {"guard_strings", "units"}
MODULES = sorted({path.stem for path in STRINGS.glob("*_strings.py")} | {"labels"})
KINDS = re.compile(r"\{[#w*]\}")
HOLES = re.compile(r"\{\w*\}|\{[#*]\}")
# Names of files, the same in every language, and what programs alone are answered.
NOT_SAID = ("file_name", "run_file_name", "no_picture_yet")


def entries(path: Path) -> list[tuple[str, str]]:
    """Return the pairs of one catalogue's file, in its order, with those that are there twice."""
    text = path.read_text("utf-8")
    called = re.search(r'language\.add\("(\w+)", (\{.*\})\);\s*\Z', text, re.DOTALL)
    assert called and called[1] == path.parent.name
    return json.loads(called[2], object_pairs_hook=list)


def catalogue(code: str) -> dict[str, str]:
    return {key: said for path in sorted((STRINGS / code).glob("*.js")) for key, said in entries(path)}


def with_holes(text: str) -> str:
    return HOLES.sub("{}", text)


def constants(name: str) -> Iterator[str]:
    """Return the texts that a module of strings names."""
    for constant, value in vars(importlib.import_module(f"ui.shared.strings.{name}")).items():
        if not constant.isupper() or constant.startswith("_") or constant in ("API", "LANGUAGES"):
            continue
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from (text for text in value.values() if isinstance(text, str))
        elif constant == "KEYS":
            yield from (said for _, said in value)
        elif constant == "PRESETS":
            yield from (title for title, _ in value)


def fragments(name: str) -> Iterator[str]:
    """Return the texts in a module's functions, of which sentences are put together."""
    tree = ast.parse((STRINGS / f"{name}.py").read_text("utf-8"))
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        if function.name in NOT_SAID:
            continue
        nodes = [node for statement in function.body[1:] for node in ast.walk(statement)]
        taken = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        taken |= {id(key) for node in nodes if isinstance(node, ast.Dict) for key in node.keys}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in taken:
                yield node.value


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("name", [name for name in MODULES if name not in NOT_ON_THE_PAGE])
def test_every_text_of_the_page_is_in_the_catalogue(code: str, name: str) -> None:
    known = {with_holes(key) for key in catalogue(code)}
    missing = [
        text for text in constants(name) if re.search("[A-Za-z]{2}", text) and with_holes(text) not in known
    ]
    assert missing == []


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("name", [name for name in MODULES if name not in NOT_ON_THE_PAGE])
def test_every_part_of_a_sentence_is_in_a_sentence_of_the_catalogue(code: str, name: str) -> None:
    known = "\n".join(map(with_holes, catalogue(code)))
    missing = []
    for text in fragments(name):
        words = [part.strip(" ,.;:()") for part in with_holes(text).split("{}")]
        spoken = [part for part in words if re.search("[A-Za-z]{2}", part)]
        missing += [text for part in spoken if part not in known]
    assert missing == []


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_text_is_in_one_place_and_its_translation_has_all_that_it_has(code: str) -> None:
    pairs = [pair for path in sorted((STRINGS / code).glob("*.js")) for pair in entries(path)]
    keys = [key for key, _ in pairs]
    assert sorted(keys) == sorted(set(keys))
    for key, said in pairs:
        assert said.strip()
        wanted = {str(number) for number in range(1, len(KINDS.findall(key)) + 1)}
        assert set(re.findall(r"\{(\d)\}", said)) == wanted, key


FIGURE = r"(?:[^A-Za-z{}]|(?<![A-Za-z])(?:px|GB|MB|kB|KiB|ms|min|dB|s|h)(?![A-Za-z]))+?"
GROUPS = {"{#}": f"({FIGURE})", "{w}": "(.+?)", "{*}": "(.*?)"}


def is_known(text: str, known: Mapping[str, str]) -> bool:
    """Return whether language.js finds a text in a catalogue: itself, or a shape whose words are there."""
    if text in known or re.fullmatch(FIGURE, text):
        return True
    for key in (key for key in known if KINDS.search(key)):
        parts = [GROUPS.get(part, re.escape(part)) for part in re.split(r"(\{[#w*]\})", key)]
        found = re.fullmatch("".join(parts), text)
        kinds = KINDS.findall(key)
        if found and all(
            is_known(value, known) for kind, value in zip(kinds, found.groups(), strict=True) if kind == "{w}"
        ):
            return True
    return False


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": " "},
        {"prompt": "a" * 3000},
        {"prompt": "a cat"},
        {"gaussian_sigma": 9},
        {"guidance_scale": "much"},
        {"num_inference_steps": 0},
        {"aspect": "1:9"},
        {"aspect": "wide"},
        {"target": 300},
        {"seed": "x"},
        {"seed": "-1"},
        {"overrides": "1024.upscale_strenght=0.3"},
        {"overrides": "sharper"},
        {"overrides": "1024.upscale_strength=9"},
        {"overrides": "700.upscale_strength=0.3"},
        {"ladder": "300"},
        {"ladder": "x4:1024"},
        {"loras": "ink:0.8"},
        {"refiner": "ensemble"},
        {"start_px": 512},
    ],
    ids=str,
)
def test_what_the_core_refuses_most_is_in_the_catalogue(code: str, wrong: Mapping[str, object]) -> None:
    card = find_card("world")
    held = {**initial_values(card), **wrong}
    with pytest.raises(BadSetting) as caught:
        make_plan(settings_from([held[name] for name in FIELD_NAMES]), card)
    assert is_known(labels.said(str(caught.value)), catalogue(code))


def test_each_catalogue_is_served_under_an_address_that_changes_with_it() -> None:
    served = catalogues()
    assert list(served) == LANGUAGES
    for code, addresses in served.items():
        assert len(addresses) == len(list((STRINGS / code).glob("*.js"))) > 0
        assert all(re.search(rf"/strings/{code}/\w+\.js\?v=[0-9a-f]{{12}}$", one) for one in addresses)
