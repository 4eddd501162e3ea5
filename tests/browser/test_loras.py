"""LoRA files on the page: chosen by a press, weighed, run on the real model, and refused by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gspn_core.models.random_lora import write_random_lora

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"


@pytest.fixture(scope="module")
def with_loras(tmp_path_factory, serve_with) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("loras")
    for seed, name in enumerate(("ink", "snow")):
        write_random_lora(folder / "files" / f"{name}.safetensors", "world", seed=seed)
    (folder / "files" / "torn.safetensors").write_bytes(b"torn")
    arguments = (
        "--no-examples",
        "--no-measuring",
        "--model",
        "world",
        "--loras",
        str(folder / "files"),
    )
    with serve_with(folder / "jobs", folder / "app.log", arguments=arguments) as (address, _server):
        yield address


def test_a_file_is_chosen_weighed_run_and_refused_by_name(with_loras, visit_at) -> None:
    visits = visit_at(with_loras)
    page = visits()
    page.click("#more button")
    chips = page.locator(".lora button")
    chips.first.wait_for()
    assert chips.all_inner_texts() == ["ink", "snow"]
    assert "1 file cannot be used with this model" in page.inner_text(".loras-note")
    assert page.locator(".loras-note span").get_attribute("title") == "torn is damaged"
    field = page.locator("#field-loras input, #field-loras textarea")
    chips.nth(1).click()
    chips.nth(0).click()
    assert field.input_value() == "snow:1, ink:1"
    weight = page.get_by_label("Weight of ink")
    weight.fill("0.5")
    weight.press("Enter")
    chips.nth(1).click()
    assert field.input_value() == "ink:0.5"
    assert chips.nth(0).get_attribute("aria-pressed") == "true"
    page.locator("#field-target label", has_text="256").first.click()
    page.click("#run")
    page.wait_for_function(f"{STATE} === 'done'")
    page.wait_for_function(
        "document.querySelector('#notice').innerText.includes('which the gspn mixer replaces')"
    )
    prompt = page.locator("#field-prompt textarea")
    prompt.fill("green hills by day <lora:inkk:1>")
    page.click("#run")
    page.wait_for_function("document.querySelector('#notice').innerText.includes('did you mean ink?')")
    assert visits.errors == [] and visits.elsewhere == []
