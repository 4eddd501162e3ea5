"""A control on the page: chosen, given its image, run on the real model, and back from the run's own link."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from PIL import Image

from gspn_core.images.load import reference_of
from gspn_core.images.picture_text import read_texts
from gspn_core.models.random_weights import write_random_control

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"


@pytest.fixture(scope="module")
def with_controls(tmp_path_factory, serve_with) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("controls")
    write_random_control(folder / "files" / "edges", "controlnet-small", model="world")
    old = folder / "files" / "old"
    old.mkdir()
    config = {"_class_name": "ControlNetModel", "cross_attention_dim": 768, "block_out_channels": [320]}
    (old / "config.json").write_text(json.dumps(config))
    arguments = ("--no-examples", "--no-measuring", "--model", "world", "--controls", str(folder / "files"))
    with serve_with(folder / "jobs", folder / "app.log", arguments=arguments) as (address, _server):
        yield address


def test_a_control_is_chosen_given_its_image_run_and_brought_back(with_controls, visit_at, tmp_path) -> None:
    drawing = tmp_path / "drawing.png"
    Image.linear_gradient("L").resize((320, 240)).save(drawing)
    visits = visit_at(with_controls)
    page = visits()
    page.click("#more button")
    page.wait_for_selector("#field-control:visible")
    assert "1 folder cannot be used with this model" in page.inner_text(".steering-note")
    said = page.locator(".steering-note").get_attribute("title")
    assert said.startswith("old is a ControlNet of Stable Diffusion 1.5")
    assert not page.is_visible(".steering-open") and not page.is_visible("#field-control_scale")
    page.click("#field-control input")
    page.get_by_role("option", name="edges (ControlNet)").click()
    page.wait_for_selector("#field-control_scale:visible")
    assert not page.is_visible("#field-control_type")
    page.wait_for_selector(".steering-open:visible")
    # Without its image nothing runs, and the page says which is missing.
    page.click("#run")
    page.wait_for_function(
        "document.querySelector('#notice').innerText.includes('the picture that edges reads')"
    )
    page.set_input_files(".steering-file", str(drawing))
    page.wait_for_selector(".steering-thumb:visible")
    assert page.inner_text(".steering-size") == "320 × 240"
    page.locator("#field-target label", has_text="256").first.click()
    steps = page.locator("#field-num_inference_steps input[type=number]").first
    steps.fill("2")
    steps.press("Tab")
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done'")
    page.wait_for_function("document.querySelectorAll('.ladder .get[download]').length === 1")
    href = page.locator(".ladder .get").first.get_attribute("href")
    result = tmp_path / "result.png"
    result.write_bytes(page.request.get(page.evaluate("h => new URL(h, document.baseURI).href", href)).body())
    settings = read_texts(result)["gspn_studio"]["settings"]
    assert settings["control"] == "edges"
    assert settings["control_image"] == reference_of(Image.open(drawing))
    # After a reload the form holds the control and its image again.
    page.reload()
    page.wait_for_function(f"{STATE} === 'done'")
    page.click("#more button")
    page.wait_for_selector(".steering-thumb:visible")
    page.wait_for_selector("#field-control_scale:visible")
    page.click(".steering-remove")
    page.wait_for_selector(".steering-open:visible")
    assert visits.errors == [] and visits.elsewhere == []
