from types import SimpleNamespace

import pytest

from gspn_core.errors import Busy
from gspn_core.events import ModelProgress
from ui.shared.models import chosen, masthead_props, model_choices
from ui.shared.strings import page_strings

SHOWN = masthead_props("CPU", None, "")


class ModelPicker:
    def __init__(self, *titles: str, refusal: Exception | None = None, is_withheld: bool = False) -> None:
        self.titles, self.refusal, self.asked, self.is_withheld = titles, refusal, [], is_withheld

    def choices(self):
        return [SimpleNamespace(name=t.lower(), title=t, current=i == 0) for i, t in enumerate(self.titles)]

    def choose(self, name):
        if self.refusal:
            raise self.refusal
        self.asked.append(name)


def test_the_menu_marks_the_model_in_use():
    assert model_choices(ModelPicker("World", "Mine")) == [
        {"name": "world", "label": "World · in use", "current": True},
        {"name": "mine", "label": "Mine", "current": False},
    ]


def test_where_only_the_host_chooses_the_menu_says_so():
    current, sentence = model_choices(ModelPicker("World", is_withheld=True))
    assert current == {"name": "world", "label": "World · in use", "current": True}
    # The menu does nothing for an entry in use.
    assert sentence == {"name": "", "label": page_strings.MODEL_OF_HOST, "current": True}


@pytest.mark.parametrize("picker", [None, ModelPicker("World")])
def test_one_model_is_no_menu(picker):
    assert model_choices(picker) == []


def test_the_top_tells_how_far_the_reading_is():
    read = ModelProgress(doing="read", part="unet", done_bytes=2_100_000_000, total_bytes=6_900_000_000)
    assert masthead_props(None, read, "")["status"] == "loading the model, 2.1 GB of 6.9 GB …"
    fetch = ModelProgress(doing="fetch", part="sdxl", done_bytes=5_000_000, total_bytes=6_900_000_000)
    assert masthead_props(None, fetch, "")["status"] == "fetching sdxl, 5 MB of 6.9 GB …"
    assert masthead_props(None, None, "")["status"] == page_strings.LOADING_MODEL
    assert masthead_props("CPU", read, "")["status"] == ""


def test_an_issue_takes_the_place_of_progress():
    props = masthead_props(None, None, "no weights.")
    assert (props["issue"], props["status"], props["changing"]) == ("no weights.", "", False)


def test_a_choice_is_passed_on_and_the_page_waits_for_it():
    picker = ModelPicker("World", "Mine")
    props = chosen(picker, {"name": "mine"}, SHOWN)
    assert picker.asked == ["mine"]
    assert props["changing"] and props["status"] == "changing to Mine …"


def test_a_choice_that_is_refused_says_why_and_nothing_changes():
    props = chosen(ModelPicker("World", "Mine", refusal=Busy("Runs are going on.")), {"name": "mine"}, SHOWN)
    assert props == {**SHOWN, "refused": "Runs are going on."}
    # What is said of the model meanwhile leaves the sentence alone.
    assert "refused" not in masthead_props("CPU", None, "")


@pytest.mark.parametrize("asked", [None, 7, "mine", [], {}])
def test_what_a_script_sends_is_only_ever_a_name(asked):
    picker = ModelPicker("World", "Mine")
    chosen(picker, asked, SHOWN)
    assert picker.asked == [""]
