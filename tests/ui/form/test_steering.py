"""The control on the page: shown where a network of the model is, with the reason where none is."""

from __future__ import annotations

import dataclasses

import gradio as gr
import pytest
from PIL import Image

from gspn_core.planning.conditions import ConditionFile
from gspn_core.runs.init_images import InitImages
from gspn_core.settings import FIELD_NAMES
from ui.form.form import build_form, build_prompt, initial_values, is_offered, settings_from, values_of
from ui.form.steering import FIELDS, SHOWN_WITH_CONTROL, choices_of, fields_shown, steering_props, taken
from ui.shared.strings import form_strings

EDGES = ConditionFile(name="edges", path="", kind="ControlNet")
UNION = ConditionFile(name="union", path="", kind="ControlNet-Union", types=6)
OLD = ConditionFile(name="old", path="", issue="is a ControlNet of Stable Diffusion 1.5")


@pytest.mark.parametrize(
    ("files", "usable", "note"),
    [
        (None, 0, "Control: needs a folder of ControlNets or T2I-Adapters, --controls at the start."),
        ((), 0, "Control: the folder that --controls names holds no ControlNet or T2I-Adapter."),
        ((OLD,), 0, "Control: none for this model; 1 folder cannot be used with it."),
        ((EDGES,), 1, ""),
        ((EDGES, OLD, OLD), 1, "Control: 2 folders cannot be used with this model."),
    ],
)
def test_the_field_shows_where_there_is_a_network_and_the_reason_elsewhere(files, usable, note, card):
    with_files = dataclasses.replace(card, conditions=files)
    assert steering_props(with_files)["note"] == note
    assert all(is_offered(name, with_files) == bool(usable) for name in FIELDS)
    with gr.Blocks():
        form = build_form(with_files, *build_prompt(with_files))
    assert form.controls["control"].visible == bool(usable)
    assert not any(form.controls[name].visible for name in SHOWN_WITH_CONTROL)
    assert len(choices_of(with_files)) == 1 + usable


def test_what_cannot_be_used_is_named_with_its_reason(card):
    shown = steering_props(dataclasses.replace(card, conditions=(EDGES, OLD)))
    assert shown["unusable"] == ["old is a ControlNet of Stable Diffusion 1.5"]


def test_its_settings_show_once_a_network_is_chosen_and_a_type_where_it_has_several(card):
    with_files = dataclasses.replace(card, conditions=(EDGES, UNION))

    def visible(chosen: str) -> list[bool]:
        return [update["visible"] for update in fields_shown(with_files, chosen)]

    assert visible("") == [False, False, False, False]
    assert visible("edges") == [False, True, True, True]
    assert visible("union") == [True, True, True, True]
    assert steering_props(with_files, "edges")["asks"] and not steering_props(with_files)["asks"]


def test_cleared_fields_are_no_control_and_filled_ones_come_back(card):
    values = {**initial_values(card), "control": None, "control_image": None}
    blank = settings_from([values[name] for name in FIELD_NAMES])
    assert (blank.control, blank.control_image) == ("", "")
    kept = {"control": "edges", "control_image": f"64x64-{'a' * 64}", "control_scale": 0.4}
    filled = settings_from(values_of({**blank.to_dict(), **kept}, card))
    assert {name: getattr(filled, name) for name in kept} == kept


class Pictures:
    """Keeps pictures for real."""

    def __init__(self, folder):
        self.starts = InitImages(folder, set)

    def take_start(self, path, name, *, visitor=""):
        return self.starts.take(path, name, visitor)

    def start_proxy(self, reference):
        return self.starts.proxy(reference)


def test_a_picture_is_taken_shown_and_refused_where_it_is_none(card, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    jobs, picture = Pictures(tmp_path / "starts"), tmp_path / "edges.png"
    Image.new("RGB", (96, 64), "white").save(picture)
    sent = {"path": str(picture), "name": "edges.png"}
    shown, reference = taken(jobs, card, sent, "edges", "")
    assert reference.startswith("96x64-") and shown["reference"] == reference
    assert "96" in shown["size"] and "64" in shown["size"]
    assert shown["thumb"] and not shown["error"]
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"torn")
    shown, kept = taken(jobs, card, {"path": str(torn), "name": "torn.png"}, "edges", reference)
    assert "torn.png is not an image" in shown["error"] and shown["reference"] == reference
    assert kept == gr.skip()
    gone = steering_props(card, "edges", jobs, f"64x64-{'b' * 64}")
    assert gone["error"] == form_strings.START_GONE
