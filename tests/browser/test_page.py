"""The page in a real Chromium, over the real app and the embedded model."""

import hashlib
import io
import json

import pytest
from PIL import Image

from ui.shared.strings import studio_strings

pytestmark = pytest.mark.browser

STATE = "document.querySelector('#studio').dataset.state"


def choose(page, name: str, label: str) -> None:
    page.locator(f"#field-{name} label", has_text=label).first.click()


def fill(page, name: str, value: str) -> None:
    field = page.locator(f"#field-{name} :is(textarea, input[type=number], input[type=text])").first
    field.fill(value)
    field.press("Tab")


def small_run(page, prompt: str, *, seed: str = "7", steps: str = "2", target: str = "512") -> None:
    """Fill the form for a quick run of two stages and press Run."""
    fill(page, "prompt", prompt)
    choose(page, "target", target)
    fill(page, "seed", seed)
    if not page.locator("#field-num_inference_steps").is_visible():
        page.click("#more button")
        page.wait_for_selector("#field-num_inference_steps")
    fill(page, "num_inference_steps", steps)
    page.click("#run")


def wait_for_state(page, state: str) -> None:
    page.wait_for_function(f"{STATE} === '{state}'")


def run_again(page, prompt: str, **options: str) -> None:
    """Run once more and wait for the end; a run whose every stage is reused may be done at once."""
    before = page.evaluate("location.search")
    small_run(page, prompt, **options)
    page.wait_for_function("before => location.search !== before", arg=before)
    wait_for_state(page, "done")


def wait_for_downloads(page, count: int) -> None:
    page.wait_for_function(f"document.querySelectorAll('.ladder .get[download]').length === {count}")


def picture_of(page, index: int) -> bytes:
    href = page.locator(".ladder .get").nth(index).get_attribute("href")
    return page.request.get(page.evaluate("href => new URL(href, document.baseURI).href", href)).body()


@pytest.fixture
def page(visit):
    return visit()


def test_stages_arrive_one_after_another_and_every_one_can_be_downloaded(page) -> None:
    page.evaluate(
        """() => {
          window.seen = [];
          new MutationObserver(() => {
            const done = document.querySelectorAll('.ladder li.done img:not([hidden])').length;
            if (window.seen.at(-1) !== done) window.seen.push(done);
          }).observe(document.querySelector('.ladder'), { subtree: true, attributes: true, childList: true });
        }"""
    )
    small_run(page, "snowy mountains over a lake at dusk")
    wait_for_state(page, "done")
    wait_for_downloads(page, 2)
    assert [count for count in page.evaluate("window.seen") if count] == [1, 2]
    assert page.locator(".ladder b").all_inner_texts() == ["256 × 256", "512 × 512"]
    with page.expect_download() as download:
        page.click(".download")
    assert download.value.suggested_filename == "gspn-512x512-seed-7.png"
    picture = Image.open(download.value.path())
    assert picture.size == (512, 512)
    written = json.loads(picture.text["gspn_studio"])
    assert written["settings"]["prompt"] == "snowy mountains over a lake at dusk"
    assert written["settings"]["seed"] == 7
    assert "Seed: 7" in picture.text["parameters"]


def test_the_picture_is_on_the_screen_with_its_prompt_as_its_text(page) -> None:
    small_run(page, "green hills at dawn", target="256")
    wait_for_state(page, "done")
    page.wait_for_selector(".deep:not(.covered)")
    assert page.get_attribute(".deep [role=img]", "aria-label") == "green hills at dawn — 256 × 256 px"


def test_a_slider_changes_the_picture_and_the_same_settings_give_the_same(page) -> None:
    digests = []
    for strength in ("0.3", "0.3", "0.8"):
        fill(page, "upscale_strength", strength)
        run_again(page, "red dunes at night")
        wait_for_downloads(page, 2)
        digests.append(hashlib.sha256(picture_of(page, 1)).hexdigest())
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]
    assert page.inner_text(".ladder li:first-child .lines").startswith(studio_strings.REUSED)


def test_a_stop_keeps_what_was_done_and_the_next_run_works(page) -> None:
    small_run(page, "a lake by day", steps="12", target="1024")
    page.wait_for_selector(".ladder li.done")
    page.keyboard.press("Escape")
    wait_for_state(page, "stopped")
    assert page.locator(".ladder li.done").count() >= 1
    assert page.locator(".ladder li.stopped").count() >= 1
    assert page.locator("#run").is_enabled()
    run_again(page, "a lake by day", target="256")


def test_a_refresh_finds_the_run_again_with_its_settings(visit) -> None:
    page = visit()
    small_run(page, "pines at dusk", steps="10", target="512")
    page.wait_for_function("location.search.includes('job=')")
    visit.reload(page)
    page.wait_for_selector(".ladder li.done")
    assert page.input_value("#field-prompt textarea") == "pines at dusk"
    wait_for_state(page, "done")
    wait_for_downloads(page, 2)
    assert page.locator(".restored").is_visible()


def test_another_visitor_waits_in_the_queue_and_sees_the_place(visit) -> None:
    first, second = visit(), visit()
    # Longer than any browser takes to press Stop.
    small_run(first, "a lake at dawn", steps="100", target="1024")
    wait_for_state(first, "running")
    small_run(second, "a meadow at dawn", target="256")
    wait_for_state(second, "queued")
    assert second.inner_text(".headline span") == "1 run ahead of yours"
    first.click("#stop")
    wait_for_state(first, "stopped")
    wait_for_state(second, "done")


def test_a_refused_setting_is_said_and_marked_and_the_form_keeps_its_values(page) -> None:
    fill(page, "seed", "seven")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".notice.error")
    assert page.inner_text(".notice") == "Seed must be a whole number, got 'seven'."
    assert page.get_attribute(".notice", "role") == "alert"
    assert page.locator("#field-seed.refused [aria-invalid=true]").count() == 1
    assert page.locator("#field-seed").locator("input, textarea").input_value() == "seven"
    assert page.locator("#run").is_enabled()
    fill(page, "seed", "7")
    assert page.locator(".field.refused").count() == 0


def test_a_hostile_prompt_is_shown_as_text(page) -> None:
    hostile = 'a lake <img src=x onerror="window.pwned=1"> {{words.fit}} ${window.pwned=1} \\u003cscript>'
    small_run(page, hostile, target="256")
    wait_for_state(page, "done")
    page.wait_for_selector(".deep:not(.covered)")
    assert page.get_attribute(".deep [role=img]", "aria-label") == f"{hostile} — 256 × 256 px"
    assert page.evaluate("window.pwned") is None


def test_an_address_of_no_run_gives_an_empty_page_that_says_so(visit) -> None:
    page = visit(path="?job=../../etc/passwd")
    page.wait_for_selector(".notice:not([hidden])")
    assert "no longer kept" in page.inner_text(".notice")
    assert page.evaluate(STATE) == "empty"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_desktop_shows_everything_without_scrolling(visit, theme) -> None:
    page = visit(color_scheme=theme)
    width, height = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert (width, height) == (1440, 900)
    for part in (
        "#field-prompt",
        "#field-cosine_scale_3",
        "#field-seed",
        "#run",
        "#stop",
        ".viewer",
        ".strip",
    ):
        box = page.locator(part).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 900, part
    hidden = page.evaluate(
        "(() => { const f = document.querySelector('#fields'); return f.scrollHeight - f.clientHeight })()"
    )
    assert hidden <= 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_has_one_column_the_picture_first_and_run_in_reach(visit, theme) -> None:
    page = visit(390, 844, color_scheme=theme, is_mobile=True, has_touch=True, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    viewer, form, run = (page.locator(part).bounding_box() for part in (".viewer", "#field-prompt", "#run"))
    assert viewer["y"] < form["y"]
    assert run["y"] + run["height"] <= 844 and run["height"] >= 44
    page.mouse.wheel(0, 5000)
    assert page.locator("#run").bounding_box()["y"] + run["height"] <= 844


def test_reading_order_reaches_run_from_the_prompt_by_keyboard_alone(page) -> None:
    page.focus("#field-prompt textarea")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "run":
            return
    pytest.fail("Run was not reached in 60 steps")


def test_a_picture_is_served_byte_for_byte(page) -> None:
    small_run(page, "a lake at noon", target="256")
    wait_for_state(page, "done")
    wait_for_downloads(page, 1)
    picture = Image.open(io.BytesIO(picture_of(page, 0)))
    assert picture.format == "PNG" and "gspn_studio" in picture.text


def test_bad_input_is_said_in_one_sentence_and_loses_nothing(page) -> None:
    long = "mountains " * 1000
    refused = [
        ({"prompt": " "}, "Prompt is empty"),
        ({"prompt": long}, "Prompt has 10,000 characters, at most 2,000 fit"),
        ({"prompt": "雪山の湖"}, "knows no word of this prompt"),
        ({"prompt": "a lake", "seed": "99999999999"}, "Seed must be a whole number from 0 to 4294967295"),
    ]
    for values, sentence in refused:
        small_run(page, **values)
        page.wait_for_function(
            "sentence => document.querySelector('#notice').innerText.includes(sentence)", arg=sentence
        )
        assert page.locator("#notice").inner_text().count("\n") == 0
        assert page.input_value("#field-prompt textarea") == values["prompt"]
        assert page.locator("#run").is_enabled()
    assert page.evaluate(STATE) == "empty"


def test_a_word_that_the_model_does_not_know_is_named_while_it_runs(page) -> None:
    small_run(page, "a dragon over a lake", target="256")
    wait_for_state(page, "done")
    assert "does not know ‘dragon’" in page.inner_text("#notice")


def test_an_outline_that_comes_late_does_not_take_a_run_from_the_screen(page) -> None:
    held = []

    def hold(route) -> None:
        answer = route.fetch()
        if '"outline":{' in answer.text().replace(" ", ""):
            # The server has answered; the browser does not know it yet.
            held.append((route, answer))
        else:
            route.fulfill(response=answer)

    page.route("**/gradio_api/run/predict*", hold)
    small_run(page, "green hills by day", target="256")
    wait_for_state(page, "done")
    wait_for_downloads(page, 1)
    assert held
    for route, answer in list(held):
        route.fulfill(response=answer)
    page.wait_for_timeout(1500)
    assert page.evaluate(STATE) == "done"
    assert page.locator(".ladder li.done img").is_visible()


# How long a page hears nothing before it asks, as screen.js has it.
SILENT_MS = 15_000
# Lets no event of the queue through while window.isDeaf.
DEAF = """
const fetched = window.fetch;
window.fetch = async (...given) => {
  const answer = await fetched(...given);
  if (!String(given[0]?.url || given[0]).includes('/queue/data')) return answer;
  const decoder = new TextDecoder(), encoder = new TextEncoder();
  let text = '';
  const events = new TransformStream({
    transform(chunk, stream) {
      text += decoder.decode(chunk, { stream: true });
      const end = text.lastIndexOf('\\n\\n') + 2;
      if (end < 2) return;
      if (!window.isDeaf) stream.enqueue(encoder.encode(text.slice(0, end)));
      text = text.slice(end);
    },
  });
  return new Response(answer.body.pipeThrough(events), { status: answer.status, headers: answer.headers });
};
"""


def test_a_page_that_missed_the_end_of_a_run_asks_for_it(visit) -> None:
    page = visit(before=lambda page: page.add_init_script(DEAF))
    small_run(page, "dunes at noon", target="256", steps="4")
    wait_for_state(page, "running")
    # As if nothing had been heard for a while already: it is asked for at the next look.
    page.evaluate(
        f"""() => {{
          const now = performance.now.bind(performance);
          performance.now = () => now() + {SILENT_MS};
          window.isDeaf = true;
        }}"""
    )
    wait_for_state(page, "done")
    assert page.locator("#run").is_enabled()
    wait_for_downloads(page, 1)
