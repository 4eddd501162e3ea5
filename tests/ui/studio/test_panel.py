import dataclasses
import re

import pytest

from gspn_core.events import MemorySample
from gspn_core.planning.plan import make_plan
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import Ended, QueueMoved
from gspn_core.settings import Settings
from ui.shared.strings import studio_strings
from ui.studio.panel import CURVE_HEIGHT, CURVE_WIDTH, idle_props, memory_curve, panel_props, weight_curves


def rows(props) -> dict[str, str]:
    return dict(props["rows"])


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


def test_a_running_stage_is_named_with_its_place_and_step(view_after) -> None:
    props = panel_props(view_after(4))
    assert props["headline"] == "Stage 1 of 2"
    assert props["detail"] == "64 × 64"
    assert rows(props)[studio_strings.ROWS["step"]] == "2 / 4"
    assert props["progress"] == 0.5


def test_memory_is_labelled_as_what_it_is(view_after) -> None:
    view = view_after(4)
    assert rows(panel_props(view))["RAM"] == "900 MB"
    device = MemorySample(kind="device", now_bytes=10**9, peak_bytes=2 * 10**9, total_bytes=10**10)
    assert rows(panel_props(dataclasses.replace(view, memory=device)))["GPU memory"] == "1.0 GB"


def test_the_time_left_is_unknown_until_something_was_measured(view_after) -> None:
    assert panel_props(view_after(2))["left"] is None
    assert panel_props(view_after(5))["left"] > 0


def test_between_stages_the_next_one_is_named(view_after) -> None:
    assert panel_props(view_after(7))["headline"] == "Stage 2 of 2"


def test_after_the_last_stage_the_run_finishes(view_after) -> None:
    assert panel_props(view_after(-1))["headline"] == studio_strings.FINISHING
    assert panel_props(view_after())["headline"] == studio_strings.HEADLINES["done"]


def test_a_done_run_keeps_its_highest_memory_and_its_seed(view_after) -> None:
    props = panel_props(view_after())
    assert rows(props)["RAM (peak)"] == "1.6 GB"
    assert rows(props)["Seed"] == "7"
    assert props["left"] is None


def test_a_queued_run_tells_its_place(view_after) -> None:
    props = panel_props(apply_event(view_after(0), QueueMoved(position=2)))
    assert (props["headline"], props["detail"]) == (
        studio_strings.HEADLINES["queued"],
        "2 runs ahead of yours",
    )
    assert props["elapsed"] is None and props["wait"] is None
    assert panel_props(apply_event(view_after(0), QueueMoved(position=2)), 40.0)["wait"] == 40.0
    assert panel_props(view_after(9), 40.0)["wait"] is None


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_an_ended_run_is_named_by_how_it_ended(view_after, state) -> None:
    props = panel_props(apply_event(view_after(9), Ended(state=state, error="memory ran out.")))
    assert props["headline"] == studio_strings.HEADLINES[state]
    assert props["detail"] == "64 × 64"


def test_before_a_run_the_panel_tells_what_one_would_do(card) -> None:
    plan = make_plan(Settings(prompt="a toy", target=256), card)
    assert rows(idle_props(plan)) == {"Image": "256 × 256", "Stages": "3", "Steps": "4 + 2 + 2"}
    assert idle_props(None)["rows"] == []


def test_the_memory_curve_spans_the_box_and_has_its_top_at_the_highest() -> None:
    curve = memory_curve([(0.0, 500), (1.0, 1000), (4.0, 250)], 1000, "process")
    points = coordinates(curve["line"])
    assert [x for x, _ in points] == [0.0, CURVE_WIDTH / 4, CURVE_WIDTH]
    assert min(y for _, y in points) == points[1][1] < points[0][1] < points[2][1] <= CURVE_HEIGHT
    assert curve["label"] == "RAM"


def test_a_peak_between_two_samples_lies_above_the_line() -> None:
    curve = memory_curve([(0.0, 10**9), (1.0, 10**9)], 2 * 10**9, "process")
    assert coordinates(curve["peak"])[0][1] < min(y for _, y in coordinates(curve["line"]))
    assert curve["top"] == "peak 2.0 GB"


def test_one_point_makes_no_curve() -> None:
    assert memory_curve([(0.0, 5)], 5, "process") is None
    assert memory_curve([], 0, None) is None


def test_weights_are_drawn_over_the_steps_with_the_place_of_the_run(view_after) -> None:
    props = panel_props(view_after(9))
    first, last = coordinates(props["weights"]["lines"]["c1"])
    assert first[0] == 0 and last[0] == CURVE_WIDTH
    assert first[1] < last[1]
    assert props["weights"]["at"] == CURVE_WIDTH


def test_the_base_stage_has_no_weights_to_draw(view_after) -> None:
    assert panel_props(view_after(4))["weights"] is None


def test_one_weight_is_drawn_level() -> None:
    curves = weight_curves([{"c1": 0.25, "c2": 0.25, "c3": 0.5}], None)
    assert coordinates(curves["lines"]["c1"])[0][1] == coordinates(curves["lines"]["c1"])[1][1]
    assert 0 <= coordinates(curves["lines"]["c3"])[0][1] < coordinates(curves["lines"]["c1"])[0][1]
    assert curves["top"] == "0 – 0.5"


def test_a_run_from_the_cache_says_so_in_place_of_its_time(view_after) -> None:
    view = view_after()
    assert panel_props(view)["cached"] is None

    def cached(*saved: float | None, state: str = "done") -> list[str] | None:
        pairs = zip(view.stages, saved, strict=True)
        stages = tuple(dataclasses.replace(one, reused=True, saved_seconds=taken) for one, taken in pairs)
        return panel_props(dataclasses.replace(view, stages=stages, state=state))["cached"]

    assert cached(4.0, 8.0) == ["Cached", "drawn in 12 s before"]
    assert cached(4.0, None) == ["Cached", ""]
    assert cached(4.0, 8.0, state="running") is None
    first = dataclasses.replace(view.stages[0], reused=True, saved_seconds=4.0)
    partly = dataclasses.replace(view, stages=(first, *view.stages[1:]))
    assert panel_props(partly)["cached"] is None
