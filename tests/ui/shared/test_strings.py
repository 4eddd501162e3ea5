import ast
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ui
from gspn_core.errors import BadSetting
from gspn_core.models.quantize import SCHEMES, SDXL_LINEAR
from gspn_core.models.shapes import SDXL_SHAPES
from gspn_core.settings import CHOICES, FIELD_NAMES, Settings
from ui.shared.part import files_of_the_page
from ui.shared.strings import labels, page_strings, screen_strings, studio_strings, units

UI = Path(ui.__file__).parent
STRINGS = UI / "shared" / "strings"
SPOKEN = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")


class TextOf(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts += [data.strip()] if data.strip() else []


def test_every_setting_has_a_label_and_a_help_text_and_nothing_else_has() -> None:
    assert set(labels.LABELS) == set(FIELD_NAMES) == set(labels.HELP)


def test_every_choice_of_a_setting_has_a_word() -> None:
    assert {choice for choices in CHOICES.values() for choice in choices} == set(labels.CHOICES)


@pytest.mark.parametrize(
    "module", sorted(str(p.relative_to(UI)) for p in UI.rglob("*.py") if STRINGS not in p.parents)
)
def test_no_sentence_stands_outside_strings(module: str) -> None:
    tree = ast.parse((UI / module).read_text("utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and isinstance(node.body[0], ast.Expr)
    }
    # A theme's values are CSS, a policy's are sources and an element is markup, not words.
    said = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        if SPOKEN.search(node.value)
        and module not in ("shared/theme.py", "guard/headers.py")
        and not node.value.startswith("<")
    ]
    assert said == []


@pytest.mark.parametrize("template", sorted(str(p.relative_to(UI)) for p in UI.rglob("*.html")))
def test_templates_hold_no_words_of_their_own(template: str) -> None:
    parser = TextOf()
    parser.feed((UI / template).read_text("utf-8"))
    spoken = [text for text in parser.texts if not re.fullmatch(r"\{\{(words|card)\.\w+\}\}|[?←→]", text)]
    assert spoken == []


def test_every_word_that_a_template_or_a_script_asks_for_exists() -> None:
    sources = [p.read_text("utf-8") for p in files_of_the_page(".html", ".js") if "vendor" not in p.parts]
    asked = {name for source in sources for name in re.findall(r"\bwords\.(\w+)", source)}
    assert asked and asked <= set(screen_strings.SCREEN)


def test_every_word_of_the_screen_is_asked_for() -> None:
    sources = "".join(
        p.read_text("utf-8") for p in files_of_the_page(".html", ".js", ".css") if "vendor" not in p.parts
    )
    assert [name for name in screen_strings.SCREEN if f"words.{name}" not in sources] == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "—"),
        (0, "0 kB"),
        (12_400, "12 kB"),
        (999_600, "1 MB"),
        (640_000_000, "640 MB"),
        (999_600_000, "1.0 GB"),
        (1_640_000_000, "1.6 GB"),
    ],
)
def test_bytes_are_said_in_decimal_units(value: int | None, said: str) -> None:
    assert units.bytes_(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "—"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
    ],
)
def test_seconds_are_said_as_a_person_would(value: float | None, said: str) -> None:
    assert units.seconds(value) == said


def test_a_width_is_said_before_a_height() -> None:
    assert units.size(64, 128) == "128 × 64"
    assert studio_strings.file_name(64, 128, 7) == "gspn-128x64-seed-7.png"


def test_a_cards_name_holds_all_that_stands_on_it_and_says_the_state_once() -> None:
    assert (
        studio_strings.stage_label(2, 512, 512, "done", ["1.2 s", "1.6 GB"])
        == "Stage 2, 512 × 512 1.2 s 1.6 GB, done"
    )
    assert studio_strings.stage_label(3, 64, 96, "waiting", ["waiting"]) == "Stage 3, 96 × 64 waiting"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("num_inference_steps must be a number; try 4.", "Steps must be a number; try 4."),
        ("target must be 64.", "Output size must be 64."),
        ("'x' is not a number for gaussian_sigma; write 0.2.", "'x' is not a number for Blur σ; write 0.2."),
        ("Another run has this seed and prompt.", "Another run has this seed and prompt."),
        (
            "overrides: at 512 px, gaussian_sigma must be 1; see 512.gaussian_sigma=1.",
            "Per-stage overrides: at 512 px, gaussian_sigma must be 1; see 512.gaussian_sigma=1.",
        ),
    ],
)
def test_the_page_says_labels_where_a_program_reads_names(answer: str, said: str) -> None:
    assert labels.said(answer) == said


@pytest.mark.parametrize("name", [name for name in FIELD_NAMES if name not in ("target", "overrides")])
def test_no_name_of_a_setting_is_left_in_what_the_page_says(name: str) -> None:
    with pytest.raises(BadSetting) as refusal:
        Settings(**{"prompt": "a", name: object()})
    assert "_" not in labels.said(str(refusal.value)).split(",")[0]


def test_a_model_in_fewer_bits_says_what_is_kept_so_and_the_bytes(card) -> None:
    plain = dataclasses.replace(card, shapes=SDXL_SHAPES)
    assert page_strings.described(plain) == page_strings.described(card) == card.description
    kept = dataclasses.replace(SDXL_SHAPES.unet, quantized=SCHEMES["int8"].quantized(SDXL_LINEAR))
    said = page_strings.described(
        dataclasses.replace(card, shapes=dataclasses.replace(SDXL_SHAPES, unet=kept))
    )
    assert said.startswith(card.description)
    assert "722 linear layers of its UNet are kept in int8 with torchao" in said
    assert "2.9 GB in place of 5.1 GB" in said
