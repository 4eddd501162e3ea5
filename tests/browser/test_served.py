"""What the server hands out and takes in: pictures of runs by their link, and no more."""

import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from gspn_core.images.load import MAX_FILE_BYTES

pytestmark = pytest.mark.browser

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def status(url: str, data: bytes | None = None, **headers: str) -> int:
    try:
        with DIRECT.open(urllib.request.Request(url, data=data, headers=headers), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except urllib.error.URLError:
        # The connection was closed before all of it was taken.
        return 499


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "app.py",
        "requirements.txt",
        "{jobs}/../secret.txt",
        "{jobs}/%2e%2e/secret.txt",
        "{jobs}/run-of-a-visitor-000/about.json",
        "{jobs}/run-of-a-visitor-000/job.json",
        "{jobs}/.in-use",
    ],
)
def test_no_other_file_is_served(address, jobs_folder, path) -> None:
    run = jobs_folder / "run-of-a-visitor-000"
    run.mkdir(parents=True, exist_ok=True)
    for name in ("about.json", "job.json"):
        (run / name).write_text("{}")
    (jobs_folder.parent / "secret.txt").write_text("secret")
    asked = path.format(jobs=Path(jobs_folder).as_posix()).replace(" ", "%20")
    assert status(f"{address}gradio_api/file={asked}") in (400, 403, 404)


def test_a_large_upload_is_refused(address) -> None:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head.encode() + b"\0" * (MAX_FILE_BYTES + 1) + f"\r\n--{boundary}--\r\n".encode()
    found = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    assert status(f"{address}gradio_api/upload", body, **found) >= 400
    assert status(address) == 200
