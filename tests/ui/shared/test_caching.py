"""Which answers a browser may keep."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from ui.guard.files import ServedFiles
from ui.shared.caching import KeptFiles


def answer(application: KeptFiles, scope: dict, send) -> None:
    """Ask an application in a thread of its own: another test's browser may hold this one's loop."""
    with ThreadPoolExecutor(1) as apart:
        apart.submit(lambda: asyncio.run(application(scope, None, send))).result()


RUN = "run-of-a-visitor-000"


@pytest.fixture
def files(tmp_path) -> ServedFiles:
    """Return what is served of two folders that hold nothing yet."""
    return ServedFiles(runs=tmp_path / "jobs", page=tmp_path / "ui")


def headers_of(
    files: ServedFiles,
    path: str,
    *,
    query: bytes = b"",
    status: int = 200,
    kind: str = "http",
    root: str = "",
) -> dict[bytes, bytes]:
    """Return the headers that an application's answer has once it has passed."""

    async def application(_scope, _receive, send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", b"1")]})
        await send({"type": "http.response.body", "body": b"x"})

    sent = []

    async def send(message) -> None:
        sent.append(message)

    asked = root + path.format(runs=files.runs.as_posix(), page=files.page.as_posix())
    scope = {"type": kind, "path": asked, "root_path": root, "query_string": query}
    answer(KeptFiles(application, files), scope, send)
    assert sent[1]["body"] == b"x"
    return dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (f"/gradio_api/file={{runs}}/{RUN}/stage-0-64x64.jpg", {}),
        (f"/gradio_api/file={{runs}}/{RUN}/stage-0-64x64.png", {}),
        (f"/gradio_api/file={{runs}}/{RUN}/stage-0-64x64.tiles/0/0_0.jpg", {"query": b"v=1"}),
        ("/gradio_api/file={page}/shared/viewer.js", {"query": b"v=0123456789ab", "root": "/below/a/prefix"}),
        ("/gradio_api/file={page}/form/crops/gaussian_sigma-0.webp", {"query": b"v=0123456789ab"}),
    ],
)
def test_pictures_and_files_with_a_version_are_kept_for_good(files, path, options) -> None:
    headers = headers_of(files, path, **options)
    assert headers[b"cache-control"] == b"private, max-age=31536000, immutable"
    assert headers[b"etag"] == b"1"


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/", {}),
        ("/gradio_api/file={page}/shared/viewer.js", {}),
        ("/gradio_api/queue/data", {"query": b"v=1"}),
        (f"/gradio_api/file={{runs}}/{RUN}/stage-0-64x64.jpg", {"status": 403}),
        (f"/gradio_api/file={{runs}}/{RUN}/stage-0-64x64.jpg", {"status": 404}),
        (f"/gradio_api/file={{runs}}/{RUN}/stage-0-64x64.jpg", {"kind": "websocket"}),
    ],
)
def test_everything_else_is_asked_for_again(files, path, options) -> None:
    assert b"cache-control" not in headers_of(files, path, **options)


@pytest.mark.parametrize(
    "path",
    [
        f"{{runs}}/{RUN}/job.json",
        f"{{runs}}/{RUN}/about.json",
        f"{{runs}}/{RUN}/stage-0-64x64.json",
        f"{{runs}}/{RUN}/notes.png",
        "{runs}/studies/run-of-a-visitor-000/study.json",
        "{runs}/.in-use",
        f"{{runs}}/{RUN}/stage.png/",
        f"{{runs}}/{RUN}/JOB.JSON",
        f"{{runs}}/{RUN}/../{RUN}/thumb.jpg",
        f"{{runs}}//{RUN}/thumb.jpg",
        f"{{runs}}/./{RUN}/thumb.jpg",
        f"/{{runs}}/{RUN}/thumb.jpg",
        f"{{runs}}\\{RUN}\\thumb.jpg",
        f"{{runs}}/{RUN}/thumb.jpg\0",
        f"{{runs}}/{RUN}/thumb.JPG",
        "{page}/shared/.hidden.js",
        "{page}/shared/.hidden/viewer.js",
        "{page}/page.py",
        "{page}/shared/../page.py",
        "{page}/shared/strings/units.py",
        "{page}/shared/__pycache__/part.cpython-312.pyc",
        "{page}/shared/notice.html",
        "{page}/shared/vendor/openseadragon/README.md",
        "{page}/form/crops/index.json",
        "{page}/guard/viewer.js",
        "{page}/viewer.js",
        "{page}/elsewhere/viewer.js",
        "{page}/shared/viewer.js.py",
        "ui/shared/viewer.js",
        "http://127.0.0.1/x.png",
    ],
)
def test_records_of_runs_and_other_spellings_are_not_served(files, path) -> None:
    sent = []

    async def application(_scope, _receive, _send) -> None:
        raise AssertionError("the application was asked")

    async def send(message) -> None:
        sent.append(message)

    asked = "/gradio_api/file=" + path.format(runs=files.runs.as_posix(), page=files.page.as_posix())
    scope = {"type": "http", "path": asked, "query_string": b""}
    answer(KeptFiles(application, files), scope, send)
    assert sent[0]["status"] == 404 and b"nothing at this address" in sent[1]["body"]


def test_a_link_that_is_called_like_a_picture_leads_to_no_other_file(files, tmp_path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = files.runs / RUN
    folder.mkdir(parents=True)
    (folder / "thumb.jpg").symlink_to(tmp_path / "secret.txt")
    assert files.find(f"/gradio_api/file={folder.as_posix()}/thumb.jpg") is None
    (folder / "stage-0-64x64.jpg").write_bytes(b"x")
    assert files.find(f"/gradio_api/file={folder.as_posix()}/stage-0-64x64.jpg") is not None
