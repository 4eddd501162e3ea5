from __future__ import annotations

import contextvars
import threading

import pytest

from gspn_core.runs.run import RunView
from gspn_core.runs.run_state import LiveRun


@pytest.fixture
def job(plan):
    return LiveRun(
        plan=plan,
        context=contextvars.copy_context(),
        view=RunView(id="a" * 22, created=5.0),
        changed=threading.Condition(),
        ended=threading.Condition(),
    )


@pytest.mark.parametrize("followers", [0, 1, 5])
def test_a_few_followers_get_views_at_the_full_rate(job, followers):
    job.followers = followers
    assert job.pause(0.1) == pytest.approx(0.1)


def test_many_followers_together_get_no_more_views_than_a_few(job):
    answer = []
    for followers in (5, 20, 90):
        job.followers = followers
        answer.append(followers / job.pause(0.1))
    assert answer == pytest.approx([50.0, 50.0, 50.0])
