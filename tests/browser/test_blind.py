"""A blind comparison: nothing says which is which until there is a vote; votes are kept and exported."""

import csv
import io
import json

import pytest

from gspn_core.images.png import write_proxy
from gspn_core.images.tiles import write_tiles
from gspn_core.runs.run import RunView
from gspn_core.runs.store import Store
from tests.browser.deep_zoom import put_run

pytestmark = pytest.mark.browser

FIRST, SECOND = "blind-comparison-run-one", "blind-comparison-run-two"


@pytest.fixture(scope="module")
def pair(painted_address, painted_folder) -> str:
    """Put two finished runs of one size and of two strengths into the app's folder; return their stages."""
    assert painted_address
    store = Store(painted_folder)
    for name, strength in ((FIRST, 0.3), (SECOND, 0.5)):
        put_run(store, name, (256, 512), {"jpg": write_proxy, "tiles": write_tiles})
        view = store.read_job(name)
        settings = {**view.settings, "target": 512, "upscale_strength": strength}
        store.write_job(RunView(**{**vars(view), "settings": settings}))
    return f"{FIRST}.1,{SECOND}.1"


def hidden(page) -> bool:
    return not any(
        page.locator(f".cmp-side {name}").is_visible() for name in (".cmp-items", ".cmp-table", ".cmp-add")
    )


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_what_the_panes_are_is_seen_after_the_vote_and_the_votes_are_exported(
    visit_painted, pair, width, height
) -> None:
    page = visit_painted(width, height, path=f"?place=compare&items={pair}")
    page.wait_for_function("document.querySelectorAll('.cmp-items li').length === 2")
    assert page.locator(".cmp-blind").is_hidden()
    chosen = []
    # In random order, so that both turn up in turn.
    for choice in ("A is better", "No difference", "B is better"):
        toggle = page.locator(".cmp-blind-toggle")
        if toggle.get_attribute("aria-pressed") == "false":
            toggle.click()
        else:
            page.get_by_role("button", name="Vote again").click()
        page.wait_for_selector(".cmp-votes button:focus")
        page.wait_for_function("document.querySelector('.cmp-tag').textContent === 'A'")
        page.wait_for_selector(".cmp.shuffling", state="detached")
        assert hidden(page)
        assert page.locator(".cmp-tally").is_hidden()
        assert not page.locator(".cmp-swap").is_enabled()
        assert "denoise" not in page.locator(".cmp-stage").inner_text()
        assert page.locator(".cmp-pane .openseadragon-canvas").first.get_attribute("aria-label") == "Image A"
        page.get_by_role("button", name=choice).focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".cmp-voted:not([hidden])")
        tags = [page.locator(".cmp-tag").nth(side).inner_text() for side in (0, 1)]
        assert {tag.split("denoise ")[1] for tag in tags} == {"0.3", "0.5"}
        chosen.append(None if choice == "No difference" else tags[choice.startswith("B")][-3:])
    assert page.inner_text(".cmp-tally summary") == "Votes (3)"
    terms, values = (page.locator(f".cmp-tally {tag}").all_inner_texts() for tag in ("dt", "dd"))
    counts = dict(zip(terms, values, strict=True))
    assert counts == {**{s: str(chosen.count(s)) for s in ("0.3", "0.5")}, "No difference": "1"}
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text("utf-8"))))
    assert [row["preferred"] for row in rows] == ["a", "none", "b"]
    liked = [row[f"{row['preferred']}.upscale_strength"] for row in rows if row["preferred"] != "none"]
    assert liked == [value for value in chosen if value]
    with page.expect_download() as saved:
        page.get_by_role("button", name="JSON").click()
    votes = json.loads(saved.value.path().read_text("utf-8"))
    assert len(votes) == 3 and {item["ref"].split(".")[0] for item in votes[0]["items"]} == {FIRST, SECOND}
    # They are this browser's, over a reload, until they are removed by two presses.
    visit_painted.reload(page)
    page.wait_for_selector(".cmp-tally:not([hidden])")
    page.click(".cmp-tally summary")
    page.click(".cmp-clear")
    assert page.inner_text(".cmp-clear") == "Clear all votes?"
    page.click(".cmp-clear")
    page.wait_for_selector(".cmp-tally", state="hidden")


def test_three_images_are_not_compared_blind(visit_painted, pair) -> None:
    page = visit_painted(path=f"?place=compare&items={pair},{FIRST}.0")
    page.wait_for_function("document.querySelectorAll('.cmp-items li').length === 3")
    assert not page.locator(".cmp-blind-toggle").is_enabled()
