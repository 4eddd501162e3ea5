"""Tokens under the prompt and what of it is not understood, before a run."""

import pytest

pytestmark = pytest.mark.browser

PROMPT = "document.querySelector('#field-prompt textarea').value"
LINK = "?prompt=green+hills&seed=31&target=512&num_inference_steps=6"


def counts(page) -> list[str]:
    return page.locator("#texts .counts li").all_inner_texts()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_tokens_and_hints_follow_the_prompt_as_it_is_typed(visit_painted, width, height) -> None:
    page = visit_painted(width, height, path=LINK)
    page.wait_for_function(f"{PROMPT} === 'green hills'")
    page.wait_for_function("document.querySelector('#texts .counts')?.innerText === '2 of 75 tokens'")
    assert not page.locator("#texts .hints").is_visible()
    prompt = page.locator("#field-prompt textarea")
    prompt.fill("green hills " * 40 + "(by day:1.3)")
    page.wait_for_function(
        "document.querySelector('#texts .counts').innerText === '82 of 150 tokens, 2 chunks'"
    )
    assert not page.locator("#texts .hints").is_visible()
    prompt.fill("green (hills AND [lake|river]")
    page.wait_for_selector("#texts .hints li:nth-child(3)")
    hints = page.locator("#texts .hints li").all_inner_texts()
    assert [hint.split(" is ")[0].split(" does ")[0] for hint in hints] == [
        "Prompt: AND",
        "Prompt: [one|two]",
        "Prompt: A (",
    ]
    assert page.locator("#texts [role=status] li").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    prompt.fill("green hills BREAK " * 9)
    page.wait_for_selector("#texts .counts .cut")
    assert counts(page) == ["18 of 675 tokens, 9 chunks"]
    assert "the rest has no effect" in page.locator("#texts .hints").inner_text()
    prompt.fill("green hills")
    page.wait_for_function("document.querySelector('#texts .counts').innerText === '2 of 75 tokens'")
    assert not page.locator("#texts .hints").is_visible()
