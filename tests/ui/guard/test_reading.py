"""A request that no function takes is refused in a sentence, without a traceback."""

from __future__ import annotations

import pytest

from tests.ui.guard.conftest import Served


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("call/v2/run", {}),
        ("call/v2/run", {"": None, "prompt": "a toy"}),
        ("call/v2/follow", {"run": "x"}),
        ("call/v2/nothing", {}),
        ("call/nothing", {"data": []}),
        ("run/nothing", {"data": []}),
        ("api/nothing", {"data": []}),
        ("run/predict", {"data": [], "fn_index": 99_999}),
        ("run/predict", {"data": []}),
        ("queue/join", {"data": [], "fn_index": 99_999, "session_hash": "a-session"}),
        ("queue/join", {"data": [], "session_hash": "a-session"}),
        ("queue/join", {"data": [], "fn_index": -1, "session_hash": "a-session", "trigger_id": 10**30}),
        ("cancel", {"session_hash": "nothing", "fn_index": 0, "event_id": "nothing"}),
        ("reset", {"event_id": "nothing"}),
    ],
)
def test_what_no_function_takes_is_no_fault_of_the_server(served: Served, capfd, route, body):
    answer = served.client.post(f"/gradio_api/{route}", json=body)
    assert answer.status_code < 500
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_missing_parameter_is_named(served: Served):
    answer = served.client.post("/gradio_api/call/v2/run", json={})
    assert answer.status_code == 422 and answer.text.startswith("prompt is missing;")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\na\r\n--x--\r\n',
        ),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nA: b\r\n\r\n\r\n--x--\r\n"),
        ("multipart/form-data", b""),
        ("text/plain", b"a"),
        ("", b""),
    ],
)
def test_an_upload_that_holds_no_file_is_refused(served: Served, capfd, kind, body):
    answer = served.client.post("/gradio_api/upload", content=body, headers={"content-type": kind})
    assert answer.status_code < 500
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_large_body_of_another_form_is_not_sent_back(served: Served):
    answer = served.client.post("/gradio_api/run/predict", json={str(i): i for i in range(20_000)})
    assert answer.status_code == 422 and len(answer.content) < 300
    assert "/gradio_api/info" in answer.json()["detail"]
