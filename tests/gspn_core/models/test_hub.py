"""Against a small local server in place of the Hub."""

import dataclasses
import errno
import http.server
import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from gspn_core.errors import ModelUnavailable, Stopped
from gspn_core.models.hub import EXTRAS, SDXL, Snapshot, cached_folder, commit_of, fetch, find_extra

COMMIT = "a" * 40
FILES = {"config.json": b"{}", "unet/weights.safetensors": bytes(3_000_000)}
SNAPSHOT = Snapshot(name="toy", repo="me/toy", revision=COMMIT, files=tuple(FILES), gigabytes=0.003)


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers like the Hub for a repository of two files; status: returned instead, if set."""

    status = 200
    headers_of_refusal: dict[str, str] = {}
    sends_bytes: int | None = None

    def _answer(self, body: bytes, headers: dict[str, str] | None = None) -> None:
        if self.status != 200:
            self.send_response(self.status)
            for name, value in self.headers_of_refusal.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: self.sends_bytes])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        listing = [{"type": "file", "path": p, "size": len(b), "oid": "1" * 40} for p, b in FILES.items()]
        self._answer(json.dumps(listing).encode(), {"Content-Type": "application/json"})

    def do_GET(self) -> None:
        revision, _, name = self.path.partition("/resolve/")[2].partition("/")
        assert revision in (COMMIT, "main")
        self._answer(FILES[name], {"X-Repo-Commit": COMMIT, "ETag": f'"{len(name):040x}"'})

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub():
    """Return the handler's class and the address of a server that uses it."""
    handler = type("OneHub", (Hub,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(handler=handler, address=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def test_a_snapshot_is_fetched_once_and_reports_its_bytes(hub, tmp_path):
    reports = []
    assert cached_folder(SNAPSHOT, cache=tmp_path) is None
    folder = fetch(SNAPSHOT, lambda *bytes_: reports.append(bytes_), cache=tmp_path, endpoint=hub.address)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    total = sum(map(len, FILES.values()))
    assert reports[-1] == (total, total)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    hub.handler.status = 500
    assert fetch(SNAPSHOT, cache=tmp_path, endpoint=hub.address) == folder


def test_an_incomplete_snapshot_is_not_cached(hub, tmp_path):
    folder = fetch(SNAPSHOT, cache=tmp_path, endpoint=hub.address)
    (folder / "config.json").unlink()
    assert cached_folder(SNAPSHOT, cache=tmp_path) is None


def test_a_revision_that_is_not_fixed_is_named_by_the_commit_that_came(hub, tmp_path):
    floating = dataclasses.replace(SNAPSHOT, revision="main")
    assert commit_of(floating, cache=tmp_path) is None
    folder = fetch(floating, cache=tmp_path, endpoint=hub.address)
    assert folder.name == commit_of(floating, cache=tmp_path) == COMMIT
    assert (floating.is_fixed, SNAPSHOT.is_fixed) == (False, True)
    assert commit_of(SNAPSHOT, cache=tmp_path / "nowhere") == COMMIT


def test_an_interrupted_fetch_is_one_sentence_and_not_cached(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    hub.handler.sends_bytes = 1_000_000
    with pytest.raises(ModelUnavailable, match="cannot be fetched .*connect to the network") as caught:
        fetch(SNAPSHOT, cache=tmp_path, endpoint=hub.address)
    assert "\n" not in str(caught.value)
    assert cached_folder(SNAPSHOT, cache=tmp_path) is None
    hub.handler.sends_bytes = None
    assert (fetch(SNAPSHOT, cache=tmp_path, endpoint=hub.address) / "config.json").is_file()


def test_an_extra_may_be_named_at_a_commit():
    assert find_extra("taesdxl") is EXTRAS["taesdxl"]
    assert find_extra(f"taesdxl@{COMMIT}") == dataclasses.replace(EXTRAS["taesdxl"], revision=COMMIT)
    assert find_extra(f"another@{COMMIT}") is None
    for wrong in ("main", "", COMMIT[:-1], COMMIT + "0", "A" * 40):
        with pytest.raises(ModelUnavailable, match="takes a commit of 40 hexadecimal digits"):
            find_extra(f"taesdxl@{wrong}")


def test_fetching_can_be_left(hub, tmp_path):
    def leave(_done: int, _total: int) -> None:
        raise Stopped("left")

    with pytest.raises(Stopped):
        fetch(SNAPSHOT, leave, cache=tmp_path, endpoint=hub.address)


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (401, {}, "its token is wrong or revoked"),
        (403, {"X-Error-Code": "GatedRepo"}, "accept its terms"),
        (404, {"X-Error-Code": "RevisionNotFound"}, "has no revision aaaaaaaaaaaa"),
        (404, {"X-Error-Code": "RepoNotFound"}, "is gone"),
        (503, {}, "cannot be fetched"),
    ],
)
def test_a_refusal_of_the_hub_is_one_sentence(hub, tmp_path, monkeypatch, status, headers, message):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    hub.handler.status, hub.handler.headers_of_refusal = status, headers
    with pytest.raises(ModelUnavailable, match=message) as caught:
        fetch(SNAPSHOT, cache=tmp_path, endpoint=hub.address)
    assert "\n" not in str(caught.value) and "me/toy" in str(caught.value)


def test_without_a_network_the_remedy_is_named(tmp_path):
    with pytest.raises(ModelUnavailable, match="connect to the network, or give a local SDXL folder"):
        fetch(SNAPSHOT, cache=tmp_path, endpoint="http://127.0.0.1:9")


def test_too_small_a_disk_is_refused_before_anything_is_fetched(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1_000_000))
    with pytest.raises(ModelUnavailable, match="needs 0.0 GB and the disk of .* has 0.0 GB free"):
        fetch(SNAPSHOT, cache=tmp_path / "new" / "cache", endpoint=hub.address)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("number", "message"), [(errno.ENOSPC, "is full"), (errno.EACCES, "cannot be written")]
)
def test_a_disk_that_is_full_or_closed_is_named(hub, tmp_path, monkeypatch, number, message):
    from huggingface_hub import HfApi

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(HfApi, "hf_hub_download", fail)
    with pytest.raises(ModelUnavailable, match=message):
        fetch(SNAPSHOT, cache=tmp_path, endpoint=hub.address)


def test_only_safetensors_are_ever_asked_for():
    for snapshot in (SDXL, *EXTRAS.values()):
        assert snapshot.files
        assert {Path(name).suffix for name in snapshot.files} <= {".json", ".txt", ".safetensors"}
