import json

import pytest

from tests.golden import FORMAT, _Driven, differences, machine_notes, main
from tests.golden_cases import CASES, SAMPLERS


def record(**cases):
    return {"machine": {"torch": "1"}, "cases": cases}


def stage(**changed):
    return {"size": "8x8", "key": "k", "picture": "p", "ways": [], **changed}


def test_equal_records_have_no_difference():
    assert differences(record(one=[stage(), stage()]), record(one=[stage(), stage()])) == []


@pytest.mark.parametrize("part", ["key", "picture", "ways", "size"])
def test_a_changed_stage_is_reported_with_what_changed(part):
    lines = differences(record(one=[stage(), stage()]), record(one=[stage(), stage(**{part: "other"})]))
    assert lines == [f"one, stage 2 of 8x8: {part}"]


def test_cases_and_stages_that_only_one_record_has_are_differences():
    lines = differences(record(one=[stage()], two=[stage()]), record(one=[stage()] * 2, three=[stage()]))
    assert lines == [
        "one: 1 stages before, 2 after",
        "three: only in the new record",
        "two: only in the old record",
    ]


def test_another_machine_is_reported_and_not_counted_as_a_difference():
    other = {**record(one=[stage()]), "machine": {"torch": "2"}}
    assert differences(record(one=[stage()]), other) == []
    assert machine_notes(record(), other) == ["note: torch was 1 and is 2, which may change every picture"]


def test_memory_runs_out_after_a_step_as_often_as_asked():
    class StepDone:
        pass

    driven, stopped = _Driven(2), 0
    for _ in driven.follow(iter([object(), *(StepDone() for _ in range(4))])):
        try:
            assert driven.should_stop() is False
        except MemoryError:
            stopped += 1
    assert stopped == 2


def test_each_case_has_a_name_of_its_own_and_every_sampler_a_case():
    from gspn_core.settings import CHOICES

    assert len({(case.model, case.name) for case in CASES}) == len(CASES)
    assert set(SAMPLERS) == set(CHOICES["scheduler"])


@pytest.mark.parametrize(("picture", "status"), [("p", 0), ("other", 1)])
def test_compare_exits_with_1_where_something_differs(tmp_path, monkeypatch, capsys, picture, status):
    kept, now = ({**record(one=[stage(picture=p)]), "format": FORMAT} for p in ("p", picture))
    (tmp_path / "kept.json").write_text(json.dumps(kept))
    monkeypatch.setattr("tests.golden.recorded", lambda: now)
    assert main(["compare", str(tmp_path / "kept.json")]) == status
    assert f"1 cases, {status} differences" in capsys.readouterr().out
