"""Another site's page can neither upload, run nor stop anything with a visitor's browser."""

from __future__ import annotations

import pytest

from tests.ui.guard.conftest import Served

PICTURE = {"files": ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "image/png")}


@pytest.mark.parametrize(
    ("headers", "is_taken"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:{port}"}, True),
        ({"origin": "HTTP://127.0.0.1:{port}"}, True),
        ({"origin": "https://studio.example", "x-forwarded-host": "studio.example"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "https://behind-a-proxy.example"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "http://127.0.0.1:1"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://[evil"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:{port}"}, False),
    ],
)
def test_only_its_own_page_and_programs_may_send(served: Served, port, headers, is_taken):
    given = {name: value.format(port=port) for name, value in headers.items()}
    upload = served.client.post("/gradio_api/upload", files=PICTURE, headers=given)
    event = next(one for one in served.events if one["api_name"] == "annotate")
    body = {"data": [None], "fn_index": event["id"], "session_hash": "a"}
    acted = served.client.post("/gradio_api/run/predict", json=body, headers=given)
    if is_taken:
        assert upload.status_code == 200 and acted.status_code != 403
    else:
        assert (upload.status_code, acted.status_code) == (403, 403)
        assert upload.text.endswith(".") and "another site" in upload.text


def test_reading_is_not_refused(served: Served):
    assert served.client.get("/config", headers={"sec-fetch-site": "cross-site"}).status_code == 200
