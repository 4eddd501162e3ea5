import pytest

from gspn_core.errors import Busy, ModelUnavailable
from gspn_core.models.catalog import WORLD, embedded_cards
from gspn_core.models.layout import LAYOUTS, write_configs
from gspn_core.serving.model_picker import Choice, ModelPicker


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setattr("gspn_core.serving.model_picker.cached_folder", lambda _snapshot: None)
    write_configs(tmp_path / "mine", LAYOUTS["small"])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model_index.json").write_text("{")
    (tmp_path / "notes.txt").write_text("not a model")
    return tmp_path


def picker(models, **changes):
    return ModelPicker(
        **{"current": "world", "requested": "world", "folder": models, "is_busy": lambda: False, **changes}
    )


def test_complete_models_may_be_chosen_the_embedded_one_first(models):
    embedded = (Choice(name=card.name, title=card.title, current=card == WORLD) for card in embedded_cards())
    mine = Choice(name=str(models / "mine"), title="mine", current=False)
    assert picker(models).choices() == (*embedded, mine)
    assert embedded_cards()[0] == WORLD


def test_a_model_that_was_requested_and_is_missing_is_not_offered(models):
    choices = picker(models, requested=str(models / "gone")).choices()
    assert [choice.title for choice in choices] == [*(card.title for card in embedded_cards()), "mine"]


def test_sdxl_is_a_choice_where_it_is_here(models, monkeypatch):
    monkeypatch.setattr("gspn_core.serving.model_picker.cached_folder", lambda _snapshot: models)
    assert "sdxl" in [choice.name for choice in picker(models).choices()]


def test_a_folder_that_is_not_there_offers_nothing_more(tmp_path):
    assert [choice.name for choice in picker(tmp_path / "none").choices()][:1] == ["world"]


def test_a_choice_wakes_the_server(models):
    made = picker(models)
    assert not made.wait(0)
    made.choose(str(models / "mine"))
    assert made.wait(0) and made.chosen == str(models / "mine")


def test_the_model_that_is_served_may_be_chosen_and_stays(models):
    made = picker(models)
    made.choose("world")
    assert made.chosen is None and not made.wait(0)


def test_runs_keep_their_model(models):
    made = picker(models, is_busy=lambda: True)
    with pytest.raises(Busy, match="change it when they have finished"):
        made.choose(str(models / "mine"))
    assert made.chosen is None


@pytest.mark.parametrize("name", ["/etc", "", "x" * 10_000])
def test_only_what_is_offered_may_be_chosen(models, name):
    with pytest.raises(ModelUnavailable, match="is not among the models here") as caught:
        picker(models).choose(name)
    assert len(str(caught.value)) < 200


def test_a_model_that_broke_since_is_refused(models):
    made = picker(models)
    (models / "mine" / "model_index.json").unlink()
    with pytest.raises(ModelUnavailable, match="no model_index.json"):
        made.choose(str(models / "mine"))
    assert made.chosen is None


def test_a_fixed_picker_has_one_model_and_says_why_another_is_refused(models):
    made = picker(models, is_fixed=True)
    assert [choice.name for choice in made.choices()] == ["world"] and made.is_withheld
    made.choose("world")
    with pytest.raises(ModelUnavailable, match="only its host changes it"):
        made.choose(str(models / "mine"))
    assert made.chosen is None and not made.wait(0)


def test_nothing_is_withheld_where_visitors_choose_or_there_is_one_model(models, monkeypatch):
    assert not picker(models).is_withheld
    monkeypatch.setattr("gspn_core.serving.model_picker.embedded_cards", lambda: (WORLD,))
    assert not picker(models / "none", is_fixed=True).is_withheld
