import json
from dataclasses import replace

import pytest

from gspn_core.errors import GspnError
from gspn_core.runs.archive import RunSummary
from gspn_core.runs.run import FINAL_STATES
from ui.history.history import PAGE, History, history_props, matching, run_props
from ui.shared.strings import history_strings

RUN = RunSummary(
    id="a" * 22,
    created=1000.0,
    state="done",
    prompt="a toy boat at dusk",
    settings={"mixer": "gspn", "target": 128, "seed": 7},
    stages=2,
    stages_done=2,
    height=128,
    width=128,
    planned_height=128,
    planned_width=128,
    seconds=12.2,
    thumb_path="/jobs/a b/thumb.jpg",
    favourite=False,
    note="",
    bytes=3_400_000,
)


class Kept:
    """What the list asks of the jobs, over runs made by hand."""

    def __init__(self, runs: list[RunSummary]) -> None:
        self.runs = {run.id: run for run in runs}
        self.asked: list[tuple] = []

    def history(self, visitor: str, *, limit: int) -> tuple[RunSummary, ...]:
        self.asked.append((visitor, limit))
        return tuple(self.runs.values())[:limit] if visitor == "mine" else ()

    def annotate(self, job_id: str, visitor: str, *, favourite=None, note=None) -> None:
        self._own(job_id, visitor)
        changes = {"favourite": favourite, "note": note}
        answer = {name: value for name, value in changes.items() if value is not None}
        self.runs[job_id] = replace(self.runs[job_id], **answer)

    def delete(self, job_id: str, visitor: str) -> None:
        self._own(job_id, visitor)
        del self.runs[job_id]

    def usage(self, _visitor: str) -> tuple[int, int, int]:
        return 1_200_000_000, 5_000_000_000, 20_000_000_000

    def _own(self, job_id: str, visitor: str) -> None:
        if visitor != "mine" or job_id not in self.runs:
            raise GspnError("Only the browser that started this run can change or remove it.")


@pytest.fixture
def kept() -> Kept:
    return Kept([RUN, replace(RUN, id="b" * 22, prompt="a toy house", note="the red one")])


def test_a_run_is_shown_with_its_size_mixer_seconds_and_bytes() -> None:
    shown = run_props(RUN)
    assert shown["facts"] == ["128 × 128", "GSPN", "seed 7", "12 s", "3 MB"]
    assert shown["thumb"] == "gradio_api/file=/jobs/a%20b/thumb.jpg?v=2"
    assert shown["stage"] == 1
    json.dumps(shown)


def test_a_run_that_ended_early_tells_how_far_it_came_and_can_be_resumed() -> None:
    shown = run_props(replace(RUN, state="interrupted", stages_done=1, height=64, width=64))
    assert shown["facts"][0] == "64 × 64 of 128 × 128"
    assert shown["state_word"] == "Interrupted"
    assert shown["resumable"] and shown["stage"] == 0


def test_a_run_without_a_finished_stage_has_nothing_to_compare() -> None:
    shown = run_props(replace(RUN, stages_done=0, height=0, width=0, thumb_path=None, state="queued"))
    assert shown["stage"] is None and shown["thumb"] is None
    assert shown["live"] and not shown["resumable"]


def test_every_way_to_end_has_a_word() -> None:
    assert {*FINAL_STATES, "queued", "running"} <= set(history_strings.RUN_STATES)


@pytest.mark.parametrize(
    ("query", "found"),
    [("", 2), ("BOAT dusk", 1), ("red", 1), ("toy", 2), ("boat house", 0), ("  ", 2)],
)
def test_a_search_finds_runs_whose_prompt_or_note_holds_every_word(kept, query, found) -> None:
    assert len(matching(tuple(kept.runs.values()), query)) == found


def test_a_list_tells_whether_there_is_more_than_it_shows() -> None:
    runs = [replace(RUN, id=f"{i:022d}") for i in range(5)]
    assert history_props(runs, limit=4)["more"] is True
    assert history_props(runs, limit=4)["count"] == "the newest 4"
    assert history_props(runs, limit=5)["more"] is False
    assert len(history_props(runs, limit=4)["runs"]) == 4


def test_without_a_search_no_more_runs_are_asked_for_than_are_shown(kept) -> None:
    History(kept).shown("mine", {})
    assert kept.asked == [("mine", PAGE + 1)]


def test_a_star_and_a_note_are_in_the_list_that_comes_back(kept) -> None:
    history = History(kept)
    assert history.annotate("mine", {"job": RUN.id, "favourite": True})["runs"][0]["favourite"] is True
    shown = history.annotate("mine", {"job": RUN.id, "note": "keep"})["runs"][0]
    assert (shown["note"], shown["favourite"]) == ("keep", True)
    assert len(history.shown("mine", {"starred": True})["runs"]) == 1


def test_a_removed_run_is_gone_from_the_list_that_comes_back(kept) -> None:
    shown = History(kept).remove("mine", {"job": RUN.id})
    assert [run["id"] for run in shown["runs"]] == ["b" * 22]


@pytest.mark.parametrize("asked", [{"job": "b" * 22}, {"job": None}, {}, {"job": "../x", "limit": "many"}])
def test_another_visitor_is_refused_in_one_sentence_and_sees_nothing(kept, asked) -> None:
    history = History(kept)
    for refused in (history.annotate("", {**asked, "note": "x"}), history.remove("other", asked)):
        assert refused["said"].startswith("Only the browser that started this run")
        assert refused["runs"] == []
    assert len(kept.runs) == 2


def test_the_disk_that_runs_take_is_said_against_what_there_may_be(kept) -> None:
    usage = History(kept).shown("mine", {})["usage"]
    assert usage == {"text": "Yours 1.2 GB · server 5.0 GB of 20.0 GB", "share": 0.25}


def test_the_runs_of_a_grid_are_together_where_the_newest_of_them_is() -> None:
    runs = [replace(RUN, id=f"{name}" * 22) for name in "abcde"]
    grids = {runs[at].id: ("grid one", "CFG scale × Seed") for at in (1, 3)}
    grids |= {runs[4].id: ("grid two", "Steps")}
    shown = history_props(runs, grids=grids)
    assert [run["id"][0] for run in shown["runs"]] == ["a", "b", "d", "c", "e"]
    assert [run["group"] for run in shown["runs"]] == ["", "grid one", "grid one", "", "grid two"]
    assert shown["groups"] == {
        "grid one": {"title": "CFG scale × Seed", "study": "grid one"},
        "grid two": {"title": "Steps", "study": "grid two"},
    }
    assert [run["id"][0] for run in history_props(runs)["runs"]] == list("abcde")


def test_the_pictures_of_a_batch_are_together_in_their_order() -> None:
    def of(name: str, picture: int = 0, batch: str = "", **settings):
        return replace(RUN, id=name, batch=batch, picture=picture, settings={"seed": 7, **settings})

    newest_first = [
        of("other"),
        of("whole", 0, "b"),
        of("third", 3, "b", seed=9),
        of("single"),
        of("second", 2, "b", seed=8),
        of("first", 1, "b"),
        of("lonely", 1, "c"),
        of("varied 2", 2, "v", variation_seed=2),
        of("varied 1", 1, "v", variation_seed=1),
    ]
    shown = history_props(newest_first)
    listed = [(run["id"], run["group"]) for run in shown["runs"]]
    assert listed == [
        ("other", ""),
        *((name, "b") for name in ("whole", "first", "second", "third")),
        ("single", ""),
        ("lonely", ""),
        ("varied 1", "v"),
        ("varied 2", "v"),
    ]
    assert shown["groups"] == {
        "b": {"title": "3 pictures, seeds 7 to 9", "job": "first"},
        "v": {"title": "2 variations of seed 7", "job": "varied 1"},
    }


def test_a_list_asks_for_the_grids_of_its_visitor_alone(kept) -> None:
    history = History(kept, lambda visitor: {RUN.id: ("grid", "Seed")} if visitor == "mine" else {})
    assert history.shown("mine", {})["groups"] == {"grid": {"title": "Seed", "study": "grid"}}
    assert history.shown("other", {})["groups"] == {}
