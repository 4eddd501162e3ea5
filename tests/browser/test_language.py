"""The page in Chinese, where a browser asks for it, an address does or a visitor chooses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio')?.dataset.state"
CHINESE = "document.querySelector('#run')?.innerText === '生成'"
ENGLISH = "document.querySelector('#run')?.innerText === 'Run'"
ENDED = f"{STATE} === 'done' && !document.querySelector('#run').disabled"
# What is not translated: names, units, what a visitor writes, and what a model says of itself.
KEPT = "textarea, .run-prompt, .vocabulary button, .examples, .model, kbd"
NAMES = ["green hills", "Studio", "GSPN", "PNG", "UNet", "FreeU"]
# Texts in view that have no character of Chinese.
LATIN = """([kept, names]) => {
  const walker = document.createTreeWalker(document.querySelector('#studio'), NodeFilter.SHOW_TEXT);
  const found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const box = node.parentElement;
    if (!box.checkVisibility({ visibilityProperty: true }) || box.closest(kept)) continue;
    const text = names.reduce((rest, name) => rest.replaceAll(name, ""), node.data).trim();
    const isLatin = /[A-Za-z]{3}/.test(text) && !/[\\u4e00-\\u9fff]/.test(text);
    if (isLatin) found.push(text);
  }
  return found;
}"""


# Sentences that are put together, and texts that are not the page's own.
SAID = {
    "Stage 1 of 3": "第 1/3 阶段",
    "about 1:05 left": "剩余约 1:05",
    "42 % · GSPN Studio": "42 % · GSPN Studio",
    "Changed: Steps, CFG scale and 2 more": "已更改：步数，CFG 系数 等另外 2 项",
    "64 × 64 and 96 × 96 are cached (saves 3 min 05 s).": "64 × 64 和 96 × 96 已缓存（节省 3 min 05 s）。",
    "Steps at 12": "步数 = 12",
    "snowy mountains at dusk": "snowy mountains at dusk",
    "Wait for Run": "Wait for Run",
}


def seen(page, name: str) -> None:
    """Keep a picture of the page where one is asked for, to be looked at."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_a_browser_in_chinese_has_the_page_in_chinese(visit_painted, width, height) -> None:
    page = visit_painted(width, height, path="?prompt=green+hills&target=512&seed=1", locale="zh-CN")
    page.wait_for_function(CHINESE)
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'green hills'")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#more button")
    page.click("#run")
    page.wait_for_function(ENDED)
    assert page.input_value("#field-prompt textarea") == "green hills"
    page.wait_for_selector('.actions button[data-name="vary"]')
    assert page.locator('.actions button[data-name="vary"]').inner_text() == "生成变体"
    assert page.evaluate(LATIN, [KEPT, NAMES]) == []
    seen(page, f"zh-studio-{width}")
    for place in ("compare", "lab", "history"):
        page.click(f".places button[data-place={place}]")
        page.wait_for_selector(f"#studio[data-place={place}]")
        if place == "history":
            page.wait_for_selector(".run-picture")
        seen(page, f"zh-{place}-{width}")
        assert page.evaluate(LATIN, [KEPT, NAMES]) == [], place


def test_a_language_is_chosen_in_the_menu_and_kept(visit_painted) -> None:
    page = visit_painted(locale="en-GB")
    page.wait_for_function(ENGLISH)
    assert page.evaluate("document.documentElement.lang") == "en"
    page.click(".masthead .language")
    page.get_by_role("menuitem", name="简体中文").click()
    page.wait_for_function(CHINESE)
    page.reload()
    page.wait_for_function(CHINESE)
    page.click(".masthead .language")
    page.get_by_role("menuitem", name="English").click()
    page.wait_for_function(ENGLISH)


def test_an_address_asks_for_a_language(visit_painted) -> None:
    page = visit_painted(path="?lang=zh", locale="en-GB")
    page.wait_for_function(CHINESE)
    page.wait_for_function("studio.language.said('about 1 s left') !== 'about 1 s left'")
    page.wait_for_function("studio.language.said('Lab') !== 'Lab'")
    found = page.evaluate("all => all.map((text) => studio.language.said(text))", list(SAID))
    assert dict(zip(SAID, found, strict=True)) == SAID
    page = visit_painted(path="?lang=en", locale="zh-CN")
    page.wait_for_function(ENGLISH)
