"""Which answers a browser may keep."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from ui.caching import KeptFiles


def answer(application: KeptFiles, scope: dict, send) -> None:
    """Ask an application in a thread of its own: another test's browser may hold this one's loop."""
    with ThreadPoolExecutor(1) as apart:
        apart.submit(lambda: asyncio.run(application(scope, None, send))).result()


def headers_of(path: str, *, query: bytes = b"", status: int = 200, kind: str = "http") -> dict[bytes, bytes]:
    """Return the headers that an application's answer has once it has passed."""

    async def application(_scope, _receive, send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", b"1")]})
        await send({"type": "http.response.body", "body": b"x"})

    sent = []

    async def send(message) -> None:
        sent.append(message)

    scope = {"type": kind, "path": path, "query_string": query}
    answer(KeptFiles(application), scope, send)
    assert sent[1]["body"] == b"x"
    return dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/gradio_api/file=/jobs/a/stage-0-64x64.jpg", b""),
        ("/gradio_api/file=/jobs/a/stage-0-64x64.png", b""),
        ("/gradio_api/file=/jobs/a/stage-0-64x64.tiles/0/0_0.jpg", b"v=1"),
        ("/below/a/prefix/gradio_api/file=/ui/assets/viewer.js", b"v=0123456789ab"),
        ("/gradio_api/file=/ui/assets/crops/gaussian_sigma-0.webp", b"v=0123456789ab"),
    ],
)
def test_pictures_and_files_with_a_version_are_kept_for_good(path, query) -> None:
    headers = headers_of(path, query=query)
    assert headers[b"cache-control"] == b"private, max-age=31536000, immutable"
    assert headers[b"etag"] == b"1"


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/", {}),
        ("/gradio_api/file=/ui/assets/viewer.js", {}),
        ("/gradio_api/queue/data", {"query": b"v=1"}),
        ("/gradio_api/file=/jobs/a/stage-0-64x64.jpg", {"status": 403}),
        ("/gradio_api/file=/jobs/a/stage-0-64x64.jpg", {"status": 404}),
        ("/gradio_api/file=/jobs/a/stage-0-64x64.jpg", {"kind": "websocket"}),
    ],
)
def test_everything_else_is_asked_for_anew(path, options) -> None:
    assert b"cache-control" not in headers_of(path, **options)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/jobs/a/job.json",
        "/gradio_api/file=/jobs/a/about.json",
        "/gradio_api/file=/jobs/studies/b/study.json",
        "/gradio_api/file=/jobs/.in-use",
        "/gradio_api/file=/jobs/a/stage.png/",
        "/below/a/prefix/gradio_api/file=/jobs/a/JOB.JSON",
    ],
)
def test_records_of_runs_are_not_served(path) -> None:
    sent = []

    async def application(_scope, _receive, _send) -> None:
        raise AssertionError("the application was asked")

    async def send(message) -> None:
        sent.append(message)

    answer(KeptFiles(application), {"type": "http", "path": path, "query_string": b""}, send)
    assert sent[0]["status"] == 404 and sent[1]["body"] == b""
