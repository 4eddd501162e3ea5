"""The Lab's sample: served, in the visitor's words, and the form's settings at a press."""

from __future__ import annotations

import pytest

from gspn_core.models.catalog import WORLD
from gspn_core.settings import Settings
from gspn_core.studies.axis import parse_axis
from gspn_core.studies.sample import FILE, GRID_FOLDER, read_sample
from ui.form.form import initial_values, settings_from
from ui.guard.files import ServedFiles
from ui.lab.lab import build_lab
from ui.lab.sample import adopted, sample_props
from ui.shared.strings import lab_strings, labels


@pytest.fixture
def view():
    return read_sample()


def test_its_pictures_are_served_and_its_record_is_not(view, tmp_path):
    files = ServedFiles(runs=tmp_path, page=tmp_path)
    for cell in sample_props(view)["cells"]:
        assert files.find("/" + cell["thumb"].split("?")[0]) is not None
    assert files.find(f"/gradio_api/file={GRID_FOLDER / FILE}") is None


def test_its_axes_are_labelled_and_typed_as_the_lab_reads_them(view):
    shown = sample_props(view)
    assert (shown["down"], shown["across"]) == (
        labels.LABELS["num_inference_steps"],
        labels.LABELS["guidance_scale"],
    )
    assert shown["rows"] == ["3", "8", "24"] and shown["columns"] == ["1", "3", "8"]
    assert shown["state_word"] == lab_strings.SAMPLE and not shown["own"]
    typed = [parse_axis(name, text, WORLD) for name, text in reversed(shown["axes"])]
    assert tuple(typed) == view.axes
    assert build_lab(WORLD, view).props["sample"] == shown
    assert build_lab(WORLD).props["sample"] is None


def test_a_press_gives_the_form_its_settings_and_can_be_undone(view):
    held = list({**initial_values(WORLD), "prompt": "mine"}.values())
    shown, *values = adopted(view, held, WORLD)
    found, base = settings_from(values), Settings.from_dict(view.base)
    for name in ("prompt", "seed", "target"):
        assert getattr(found, name) == getattr(base, name)
    assert shown["before"] == held and shown["said"] == lab_strings.SAMPLE_TAKEN
