import re
from pathlib import Path

import pytest
from gradio.queueing import Queue

from gspn_core.planning.plan import make_plan
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import FIELD_NAMES
from gspn_core.studies.runner import Studies
from gspn_core.studies.sample import cell_files
from ui.api import NAMES
from ui.guard.files import PAGE
from ui.page import PLACES, QUEUE_SLEEP_SECONDS, build_page, launch_arguments
from ui.shared.part import SCRIPTS, files_of_the_page, shared_scripts, style_sheets
from ui.shared.strings import page_strings
from ui.shared.theme import studio_theme
from ui.wiring import MAX_FOLLOWERS

TOKENS = PAGE / "shared" / "tokens.css"
ELSEWHERE = re.compile(r"""(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}""", re.IGNORECASE)


@pytest.fixture
def page(card, tmp_path):
    jobs = RunQueue(lambda *_: iter(()), tmp_path, plan=lambda settings: make_plan(settings, card))
    yield build_page(jobs, card, studies=Studies(jobs), weights=lambda _: None, machine=lambda: None)
    jobs.close()


def scripts() -> list[Path]:
    """Return the page's own scripts."""
    return [path for path in files_of_the_page(".js") if "vendor" not in path.parts]


def components(page) -> dict[str, dict]:
    return {
        part["props"].get("elem_id"): part["props"]
        for part in page.get_config_file()["components"]
        if part["props"].get("elem_id")
    }


def test_the_page_holds_every_setting_and_every_part(page) -> None:
    expected = {f"field-{name}" for name in FIELD_NAMES} | {"screen", "notice", "masthead", "run", "stop"}
    assert expected <= set(components(page))


@pytest.mark.parametrize("in_space", [True, False])
def test_only_a_space_can_be_duplicated(card, tmp_path, in_space) -> None:
    jobs = RunQueue(lambda *_: iter(()), tmp_path, plan=lambda settings: make_plan(settings, card))
    page = build_page(
        jobs, card, studies=Studies(jobs), weights=lambda _: None, machine=lambda: None, in_space=in_space
    )
    jobs.close()
    labels = {
        part["props"].get("value")
        for part in page.get_config_file()["components"]
        if part["type"] == "button"
    }
    assert (page_strings.DUPLICATE in labels) == in_space


def test_run_sends_every_setting(page) -> None:
    ids = {part["id"]: part["props"].get("elem_id") for part in page.get_config_file()["components"]}
    run = next(part["id"] for part in page.get_config_file()["components"] if ids[part["id"]] == "run")
    event = next(
        d for d in page.get_config_file()["dependencies"] if (run, "click") in map(tuple, d["targets"])
    )
    fields = [f"field-{name}" for name in ("pictures", *FIELD_NAMES)]
    assert [ids[i] for i in event["inputs"]][1:] == fields
    assert event["trigger_mode"] == "once"
    assert event["show_progress"] == "hidden"


def dependencies_of(page, name: str, event: str) -> list[dict]:
    config = page.get_config_file()
    ids = {part["id"] for part in config["components"] if part["props"].get("elem_id") == name}
    return [
        made for made in config["dependencies"] if any(i in ids and e == event for i, e in made["targets"])
    ]


def outputs_of(page, dependency: dict) -> set[str | None]:
    ids = {part["id"]: part["props"].get("elem_id") for part in page.get_config_file()["components"]}
    return {ids[i] for i in dependency["outputs"]}


def test_a_change_of_the_form_asks_once_for_all_that_shows_it_and_never_touches_the_screen(page) -> None:
    asked = {
        made["id"]: made
        for name in FIELD_NAMES
        for made in dependencies_of(page, f"field-{name}", "change")
        if outputs_of(page, made) & {"ahead", "curves", "screen"}
    }
    assert len(asked) == 1
    (made,) = asked.values()
    # Those, and how many pictures there are to be.
    assert len(made["targets"]) == len(FIELD_NAMES) + 1
    assert outputs_of(page, made) == {"ahead", "curves"}
    assert made["trigger_mode"] == "always_last"


def test_only_what_follows_or_shows_a_run_writes_to_the_screen(page) -> None:
    # Of values of one part that come close together a browser applies the last alone.
    config = page.get_config_file()
    events = {
        event
        for made in config["dependencies"]
        if "screen" in outputs_of(page, made)
        for _, event in made["targets"]
    }
    shown = {"open", "pick", "look", "reattach", "resume", "extend", "vary", "redo"}
    assert events == {"click", "load", *shown}


def test_nothing_is_public_but_the_functions_for_programs(page) -> None:
    dependencies = page.get_config_file()["dependencies"]
    assert len(dependencies) >= 10
    public = [d["api_name"] for d in dependencies if d["api_visibility"] != "private"]
    assert sorted(public) == sorted(NAMES)


def test_nothing_is_reported(page) -> None:
    assert page.analytics_enabled is False


def test_only_the_runs_and_single_scripts_and_pictures_of_the_page_are_allowed(tmp_path) -> None:
    runs, *files = map(Path, launch_arguments(tmp_path)["allowed_paths"])
    assert runs == tmp_path
    assert {PAGE / script for script in SCRIPTS} < set(files)
    assert set(cell_files()) < set(files)
    assert all(path.is_file() for path in files)
    assert {path.suffix for path in files} == {".js", ".css", ".svg", ".webp", ".woff2"}
    assert not [path for path in files if path.name.startswith(".")]


def test_the_navigation_has_only_places_that_there_are(page) -> None:
    shown = [name for name, _ in components(page)["masthead"]["props"]["places"]]
    assert shown == [name for name in page_strings.PLACES if name in ("studio", "lab", "history", *PLACES)]
    assert set(PLACES) <= set(components(page))


def test_the_variables_come_before_the_style_sheets_that_use_them() -> None:
    sheets = launch_arguments(PAGE)["css_paths"]
    assert sheets[0] == TOKENS
    assert sorted(sheets) == sorted(PAGE.rglob("*.css"))


def test_every_part_waits_for_the_shared_scripts_at_addresses_below_the_page(page) -> None:
    found = re.findall(r'<script src="([^"]*)"></script>', shared_scripts())
    assert [address.split("?")[0].rsplit("/", 1)[1] for address in found][:2] == ["dom.js", "studio.js"]
    assert all(address.startswith("gradio_api/file=") for address in found)
    for name in ("masthead", "screen", "notice", "history", *PLACES):
        assert components(page)[name]["head"] == shared_scripts()


def test_followers_share_one_limit_that_leaves_threads_for_stop(page, tmp_path) -> None:
    followers = [fn for fn in page.fns.values() if fn.queue]
    assert len(followers) == 6
    assert {(fn.concurrency_id, fn.concurrency_limit) for fn in followers} == {("follow", MAX_FOLLOWERS)}
    assert launch_arguments(tmp_path)["max_threads"] >= MAX_FOLLOWERS + 16


def test_the_queue_rests_between_two_looks(page) -> None:
    # The attribute is Gradio's own: a release that renames it would only make runs slower, with no error.
    assert hasattr(Queue(False, 1, 0.05, None, page), "sleep_when_free")
    assert page._queue.sleep_when_free == QUEUE_SLEEP_SECONDS


def test_templates_bring_nothing_in_unescaped() -> None:
    templates = sorted(PAGE.rglob("*.html"))
    assert len(templates) >= 13
    for path in templates:
        template = path.read_text("utf-8")
        # Three braces, ${} and backticks would bring text in without escaping.
        assert "{{{" not in template and "${" not in template and "`" not in template


def test_scripts_set_texts_and_never_mark_up_what_they_are_given() -> None:
    for script in scripts():
        source = script.read_text("utf-8")
        assert "insertAdjacentHTML" not in source and "outerHTML" not in source and "eval(" not in source
        for markup in re.findall(r"innerHTML =(.*?);\n", source, re.DOTALL):
            assert re.fullmatch(r"(\s*'[^']*'\s*\+?)+", markup)


def test_nothing_is_asked_for_from_elsewhere() -> None:
    theme = studio_theme()
    assert theme._stylesheets == []
    own = [
        p for p in PAGE.rglob("*") if p.suffix in (".css", ".html", ".js", ".svg") and "vendor" not in p.parts
    ]
    sources = [theme._get_theme_css(), *(p.read_text("utf-8") for p in own)]
    found = {match for source in sources for match in ELSEWHERE.findall(source)}
    # The namespace of SVG is a name, not an address that is visited.
    assert found <= {"http://www.w3.org"}


def test_both_themes_name_the_same_colours() -> None:
    css = TOKENS.read_text("utf-8")
    light, dark = (
        set(re.findall(r"(--[\w-]+):", block))
        for block in re.findall(r"^:root.*?\{(.*?)^\}", css, re.M | re.S)[:2]
    )
    assert light == dark
    sheets = "".join(path.read_text("utf-8") for path in style_sheets())
    own = {"--range_progress", *re.findall(r"^  (--[\w-]+):", sheets, re.M)}
    assert set(re.findall(r"var\((--[\w-]+)\)", sheets)) <= light | own


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("ink", "surface"),
        ("muted", "surface"),
        ("muted", "well"),
        ("faint", "surface"),
        ("faint", "well"),
        ("on-accent", "accent"),
        ("accent", "surface"),
        ("bad", "bad-soft"),
    ],
)
def test_texts_can_be_read(theme: int, text: str, ground: str) -> None:
    css = TOKENS.read_text("utf-8")
    block = re.findall(r"^:root.*?\{(.*?)^\}", css, re.M | re.S)[theme]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", block))
    assert contrast(colours[text], colours[ground]) >= 4.5
