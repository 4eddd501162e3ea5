from __future__ import annotations

import datetime
import json
import time

import pytest

from gspn_core.events import StageTimed
from gspn_core.planning.plan import make_plan
from gspn_core.planning.timing import StageTiming
from gspn_core.runs.measuring import Measuring, Progress
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.timings import Timings
from ui.shared.strings import measured_strings, units
from ui.studio.measured import HEIGHT, WIDTH, begun, measured_props, shown

NOON = datetime.datetime(2026, 11, 21, 12).timestamp()


def timing(
    mixer="gspn", height=64, width=64, seconds=0.1, gigabytes=1.0, when=NOON, source="measurement"
) -> StageTiming:
    return StageTiming(
        mixer=mixer,
        height=height,
        width=width,
        encode_seconds=None,
        step_seconds=seconds,
        decode_seconds=None,
        peak_bytes=int(gigabytes * 1e9) or None,
        when=when,
        source=source,
    )


def until_ended(measuring) -> None:
    ends = time.monotonic() + 60
    while measuring.progress.is_running:
        assert time.monotonic() < ends
        time.sleep(0.005)


@pytest.fixture
def props(card):
    return lambda *timings, **options: measured_props(
        timings,
        card,
        options.pop("progress", Progress()),
        machine="CPU, 2 cores",
        possible=options.pop("possible", True),
    )


def dots(props, kind, mixer):
    return props["plots"][kind]["lines"][mixer]["dots"]


def test_doubled_sides_and_tenfold_times_are_equal_steps_on_the_axes(props):
    answer = props(
        timing(seconds=0.01), timing(height=128, width=128, seconds=0.1), timing("gspn", 256, 256, 1.0)
    )
    (x1, y1), (x2, y2), (x3, y3) = dots(answer, "seconds", "gspn")
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2) and y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    assert 0 < x1 < x3 <= WIDTH and 0 < y3 < y1 < HEIGHT
    assert [text for _, text in answer["plots"]["seconds"]["across"]] == ["64", "128", "256"]


def test_every_dot_lies_within_the_plot_and_ticks_do_not_touch(props):
    for factor in (1.0, 1.01, 3.0, 40.0, 1e4):
        answer = props(timing(), timing("attention", 256, 256, 0.1 * factor, gigabytes=factor))
        for plot in answer["plots"].values():
            for line in plot["lines"].values():
                assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line["dots"])
            places = [y for y, _ in plot["up"]]
            assert len(places) >= 1
            assert all(a - b >= 14.5 for a, b in zip(places, places[1:], strict=False)), plot["up"]
    assert json.loads(json.dumps(answer)) == answer


def test_the_table_tells_what_the_lines_draw_in_the_order_of_the_form(props):
    answer = props(
        timing("attention", 64, 64, 0.05), timing("gspn", 64, 64, 0.1), timing("gspn", 128, 128, 1.3, 2.0)
    )
    table = answer["plots"]["seconds"]
    assert table["columns"] == ["ms", "64", "128"]
    assert table["rows"] == [["GSPN", "100", "1300"], ["Self-attention", "50", ""]]
    assert answer["plots"]["memory"]["columns"][0] == "GB"
    assert answer["plots"]["memory"]["rows"] == [["GSPN", "1.00", "2.00"], ["Self-attention", "1.00", ""]]
    assert answer["mixers"] == [["gspn", "GSPN"], ["attention", "Self-attention"]]
    assert answer["plots"]["seconds"]["lines"]["attention"]["path"] == "", "one point makes no line"


def test_another_aspect_counts_as_its_target_and_the_newest_wins(props):
    answer = props(timing(seconds=0.2, when=NOON), timing(height=48, width=88, seconds=0.4, when=NOON + 9))
    assert answer["plots"]["seconds"]["columns"] == ["ms", "64"]
    assert answer["plots"]["seconds"]["rows"] == [["GSPN", "400"]]


def test_attention_is_held_against_gspn_at_the_largest_size_of_both(props):
    answer = props(
        timing("gspn", 64, 64, 0.1),
        timing("attention", 64, 64, 0.1),
        timing("gspn", 128, 128, 0.4),
        timing("attention", 128, 128, 1.0),
        timing("gspn", 256, 256, 1.6),
    )
    assert answer["summary"] == measured_strings.ratio(128, 2.5)
    assert "2.5× slower" in answer["summary"] and "128 px" in answer["summary"]
    assert props(timing("gspn"), timing("attention", 128, 128))["summary"] == ""


def test_machine_and_days_are_said(props):
    day = 24 * 3600
    assert props(timing())["where"] == "Measured on CPU, 2 cores, 21 Nov 2026."
    answer = props(timing(), timing("attention", when=NOON + 3 * day))
    assert answer["where"] == "Measured on CPU, 2 cores, 21 Nov 2026 to 24 Nov 2026."


def test_a_mixer_that_the_model_has_no_weights_for_is_said(props):
    assert props(timing("gspn"), timing("attention"))["note"] == ""
    assert props(timing("gspn"), timing("linear"))["note"] == measured_strings.RANDOM


def test_nothing_measured_is_no_plot_and_the_button_stays(props):
    answer = props()
    assert answer["plots"] is None and answer["possible"] and answer["where"] == answer["summary"] == ""
    assert answer["ready"] and not props(possible=False)["ready"]
    assert props(timing(), possible=False)["ready"], "runs still tell what they took"


def test_a_measurement_that_goes_on_tells_how_far_it_is(props):
    assert props()["progress"] is None
    begun_one = props(progress=Progress(is_running=True, pieces=8))["progress"]
    assert begun_one == {"share": 0.0, "text": measured_strings.progress(0, None)}
    half = props(progress=Progress(is_running=True, pieces=8, done=4, side_px=128))["progress"]
    assert half["share"] == 0.5 and "128 px" in half["text"]
    ended = props(progress=Progress(pieces=8, done=4, error="it broke."))
    assert ended["progress"] is None and ended["said"] == "it broke."


def test_a_busy_machine_is_said_in_one_sentence(props):
    said = props(progress=Progress(done=4, busy_px=256))["said"]
    assert said == ("Not measured at 256 px: the machine was busy. Close other programs and benchmark again.")


def test_runs_and_measurements_are_not_held_against_each_other(props):
    measured = timing("gspn", 64, 64, 0.1), timing("attention", 64, 64, 0.2)
    run = timing("attention", 128, 128, 9.0, source="run")
    shown_props = props(
        *measured, timing("gspn", 128, 128, 0.4), run, timing("gspn", seconds=3.0, source="run")
    )
    assert shown_props["summary"] == measured_strings.ratio(64, 2.0)
    assert shown_props["plots"]["seconds"]["rows"] == [
        ["GSPN", "100", "400"],
        ["Self-attention", "200", "9000"],
    ]
    only_runs = props(run, timing("gspn", 128, 128, 3.0, source="run"))
    assert only_runs["summary"] == measured_strings.ratio(128, 3.0)


def test_a_stage_whose_memory_is_not_known_has_its_time_alone(props):
    shown_props = props(timing(), timing("attention", gigabytes=0))
    assert shown_props["plots"]["memory"]["rows"] == [["GSPN", "1.00"], ["Self-attention", ""]]
    assert shown_props["plots"]["seconds"]["rows"] == [["GSPN", "100"], ["Self-attention", "100"]]
    assert props(timing(gigabytes=0))["plots"]["memory"]["rows"] == [["GSPN", ""]]


def test_a_page_without_measurements_shows_nothing_of_them(card):
    assert shown(None, card) == begun(None, card) == {"ready": False}


def test_beginning_measures_and_a_refusal_is_said(card, tmp_path):
    def measure(_should_stop, *, every_mixer):
        assert every_mixer
        yield StageTimed(timing=timing(seconds=0.5))

    jobs = RunQueue(lambda *_: iter(()), tmp_path, plan=lambda settings: make_plan(settings, card))
    pieces = 4 * len(card.targets)
    measuring = Measuring(jobs, Timings(tmp_path), measure, pieces=pieces)
    assert begun(measuring, card)["said"] == ""
    until_ended(measuring)
    after = shown(measuring, card)
    assert after["progress"] is None and after["plots"]["seconds"]["rows"] == [["GSPN", "500"]]
    with jobs.device():
        begun(measuring, card)
        until_ended(measuring)
        assert "Another run is using the device." in shown(measuring, card)["said"]
    measuring.close()
    jobs.close()


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0042, "4.2 ms"), (0.04, "40 ms"), (0.32, "0.32 s"), (3.2, "3.2 s"), (75, "1 min 15 s")],
)
def test_the_seconds_of_a_call_are_short(value, said):
    assert units.call_seconds(value) == said


def test_a_table_of_long_durations_is_in_seconds(props):
    table = props(timing(seconds=0.25), timing("attention", 256, 256, 120.0))["plots"]["seconds"]
    assert table["columns"] == ["s", "64", "256"]
    assert table["rows"] == [["GSPN", "0.2", ""], ["Self-attention", "", "120.0"]]
