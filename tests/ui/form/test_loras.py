"""The control for LoRA files: there where a file of the model is, with the reason where none is."""

import dataclasses

import gradio as gr
import pytest

from gspn_core.lora.files import LoraFile
from gspn_core.settings import FIELD_NAMES
from ui.form.form import build_form, build_prompt, initial_values, is_offered, settings_from
from ui.form.loras import has_loras, lora_props
from ui.shared.strings import form_strings


class Source:
    def __init__(self, *files):
        self.files = files

    def all(self):
        return self.files


INK = LoraFile(name="ink", path="", layers=3)
OLD = LoraFile(name="old", path="", issue="is a LoRA of SD 1.5")


@pytest.mark.parametrize(
    ("files", "names", "note"),
    [
        ((), [], "LoRA: no files for this model in the folder that --loras names."),
        ((OLD,), [], "LoRA: none for this model; 1 file cannot be used with it."),
        ((INK,), ["ink"], ""),
        ((INK, OLD), ["ink"], "LoRA: 1 file cannot be used with this model."),
    ],
)
def test_the_field_shows_where_there_is_a_file_and_the_reason_elsewhere(files, names, note, card):
    with_files = dataclasses.replace(card, loras=Source(*files))
    shown = lora_props(with_files)
    assert (shown["names"], shown["note"]) == (names, note)
    assert has_loras(with_files) == is_offered("loras", with_files) == bool(names)
    with gr.Blocks():
        form = build_form(with_files, *build_prompt(with_files))
    assert form.controls["loras"].visible == bool(names)


def test_what_cannot_be_used_is_named_with_its_reason(card):
    shown = lora_props(dataclasses.replace(card, loras=Source(INK, OLD)))
    assert shown["unusable"] == ["old is a LoRA of SD 1.5"]
    assert lora_props(card)["note"] == form_strings.loras_here(0, 0)


def test_a_cleared_field_is_no_lora(card):
    values = {**initial_values(card), "loras": None}
    assert settings_from([values[name] for name in FIELD_NAMES]).loras == ""
