import os

import pytest

from gspn_core.errors import ModelUnavailable
from gspn_core.models import catalog
from gspn_core.models.catalog import WORLD, WORLD_FOLDER, find_card


def test_the_embedded_model_fits_into_sixty_megabytes():
    sizes = [path.stat().st_size for path in WORLD_FOLDER.rglob("*") if path.is_file()]
    assert 5e6 < sum(sizes) <= 60e6


def test_the_embedded_model_knows_every_word_of_its_examples():
    assert len(WORLD.examples) >= 4
    assert all(WORLD.read_words(example)[1] == () for example in WORLD.examples)


def test_the_card_is_the_worlds_and_its_fingerprint_changes_with_files_and_device(tmp_path, monkeypatch):
    card = find_card("world")
    assert (card.name, card.targets) == ("world", (256, 512, 1024, 2048))
    assert card.fingerprint == find_card("world").fingerprint
    assert card.fingerprint != find_card("world", device="cpu").fingerprint
    link = tmp_path / "world"
    link.mkdir()
    for part in WORLD_FOLDER.iterdir():
        (link / part.name).symlink_to(part)
    monkeypatch.setattr("gspn_core.models.catalog.WORLD_FOLDER", link)
    (link / "model_index.json").unlink()
    (link / "model_index.json").write_bytes((WORLD_FOLDER / "model_index.json").read_bytes())
    os.utime(link / "model_index.json", (1, 1))
    changed = find_card("world").fingerprint
    assert card.fingerprint != changed
    (link / "README.md").unlink()
    (link / "README.md").write_text("what the model was trained on")
    assert changed == find_card("world").fingerprint, "a report is not part of the model"


@pytest.mark.parametrize(("dtype", "changes"), [("float32", True), ("auto", True), ("bfloat16", False)])
def test_other_float32_arithmetic_leaves_pictures_in_half_precision_valid(dtype, changes, monkeypatch):
    before = find_card("world", dtype=dtype).fingerprint
    monkeypatch.setattr(catalog, "_FLOAT32_MATHS_VERSION", catalog._FLOAT32_MATHS_VERSION + 1)
    assert (find_card("world", dtype=dtype).fingerprint != before) == changes


@pytest.mark.parametrize(
    "text", ["{", "[" * 100_000, "[]", '{"_class_name": 1e999}', '{"_class_name": null}']
)
def test_a_broken_index_is_refused_in_one_sentence(text, tmp_path):
    (tmp_path / "model_index.json").write_text(text)
    with pytest.raises(ModelUnavailable) as caught:
        find_card(str(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
