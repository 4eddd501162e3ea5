"""Another site's page can neither upload, run nor stop anything with a visitor's browser."""

from __future__ import annotations

import pytest

from tests.ui.guard.conftest import Served
from ui.guard.origins import is_foreign

PICTURE = {"files": ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "image/png")}


@pytest.mark.parametrize(
    ("headers", "is_taken"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:{port}"}, True),
        ({"origin": "HTTP://127.0.0.1:{port}"}, True),
        ({"origin": "http://127.0.0.1"}, True),
        ({"origin": "https://studio.example", "x-forwarded-host": "studio.example"}, False),
        ({"origin": "http://localhost:{port}"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "https://behind-a-proxy.example"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "http://127.0.0.1:1"}, False),
        ({"origin": "http://127.0.0.1:99999999"}, False),
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


@pytest.mark.parametrize(
    ("origin", "host", "hosts", "foreign"),
    [
        ("http://studio.lan:8080", "studio.lan", (), False),
        ("http://studio.lan:8080", "127.0.0.1:7860", ("studio.lan",), False),
        ("http://studio.lan", "studio.lan:80", (), False),
        ("http://studio.lan:8080", "127.0.0.1:7860", (), True),
        ("http://studio.lan:8080", "studio.lan:8081", (), True),
        ("http://localhost:3000", "127.0.0.1:7860", ("localhost", "127.0.0.1"), True),
    ],
)
def test_a_proxy_may_change_the_port_and_allowed_names_are_ours(origin, host, hosts, foreign):
    headers = [(b"host", host.encode()), (b"origin", origin.encode())]
    assert is_foreign({"headers": headers}, hosts) is foreign


def test_reading_is_not_refused(served: Served):
    assert served.client.get("/config", headers={"sec-fetch-site": "cross-site"}).status_code == 200
