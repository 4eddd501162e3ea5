"""The answers of events are streamed once, to the client that began them."""

from __future__ import annotations

import pytest

from tests.ui.guard.conftest import Served


@pytest.mark.parametrize("name", ["run", "follow", "nothing"])
def test_an_event_that_was_not_begun_has_no_answer(served: Served, capfd, name):
    answer = served.client.get(f"/gradio_api/call/{name}/0123456789abcdef")
    assert answer.status_code == 404 and answer.text.startswith("Nothing is left")
    assert "Traceback" not in "".join(capfd.readouterr())


def test_an_event_that_was_begun_has_its_answer_once(served: Served):
    sent = {"data": served.arguments("run", prompt="a toy", target=64)}
    event = served.client.post("/gradio_api/call/run", json=sent).json()["event_id"]
    where = f"/gradio_api/call/run/{event}"
    assert "event: complete" in served.client.get(where).text
    assert served.client.get(where).status_code == 404


def test_nothing_is_kept_of_an_event_that_has_ended(served: Served):
    queue = served.page._queue
    ended = served.ask(served.event("follow"), [served.run])
    assert '"process_completed"' in ended.text
    assert len(queue.event_analytics) == 0 and queue.cached_event_analytics_summary == {"functions": {}}
