"""What answers say that a browser may do with them."""

from __future__ import annotations

import pytest

from tests.ui.guard.conftest import Served


@pytest.mark.parametrize(
    "route", ["/", "/config", "/gradio_api/info", "/nowhere", "/gradio_api/file=/etc/passwd"]
)
def test_every_answer_forbids_guessing_and_foreign_frames(served: Served, route):
    headers = served.client.get(route).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'self' https://huggingface.co https://*.huggingface.co" in policy
    assert "x-frame-options" not in headers


def test_a_picture_may_run_nothing(served: Served):
    picture = f"{served.jobs.folder.as_posix()}/{served.run}/stage-0-64x64.png"
    headers = served.client.get(f"/gradio_api/file={picture}").headers
    assert headers["content-type"] == "image/png"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "sandbox" in headers["content-security-policy"]
    assert "immutable" in headers["cache-control"]


def test_the_page_asks_for_scripts_of_its_own_alone(served: Served):
    policy = served.client.get("/").headers["content-security-policy"]
    directives = {name: rest for name, _, rest in (part.strip().partition(" ") for part in policy.split(";"))}
    for name in ("default-src", "script-src", "connect-src", "img-src", "style-src", "font-src"):
        assert "http" not in directives[name] and "*" not in directives[name]
    assert directives["object-src"] == "'none'"


def test_the_page_alone_is_compressed_for_those_who_accept_it(served):
    sizes = {}
    for accepted in ("gzip", "identity"):
        with served.client.stream("GET", "/", headers={"accept-encoding": accepted}) as answer:
            sizes[accepted] = sum(map(len, answer.iter_raw()))
            assert (answer.headers.get("content-encoding") == "gzip") == (accepted == "gzip")
    assert sizes["gzip"] < 0.4 * sizes["identity"]
    config = served.client.get("/config", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in config.headers
