"""No event hands a visitor a file of the host, whatever was sent to it."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from gradio import processing_utils

from gspn_core.settings import FIELD_NAMES
from tests.ui.guard.conftest import SECRET, VISITOR, Served

META = {"_type": "gradio.FileData"}


def payloads(paths: list[str], url: str, count: int) -> list:
    """Return what Gradio takes for a file when it comes back, as it is and nested; count: of fields."""
    files = [{"path": path, "meta": META, "orig_name": "a.txt", "name": "mixer"} for path in paths]
    fetched = {"path": paths[0], "url": url, "meta": META}
    lookalike = dict.fromkeys(("turn", "value", "ref", "axes", "items"), files)
    # Gradio itself looks at the outermost path alone.
    hidden = {"path": ""}
    return [
        {**files[0], "turn": files[1], "value": files[2]},
        {**hidden, "turn": files[1], "value": files[2], "name": "mixer", "shown": {"said": files[0]}},
        {**hidden, "turn": files, "shown": {"notes": files, "x": {"path": url, "meta": META}}},
        [[fetched], {"a": files, "b": {"path": url, "meta": META}}],
        {"__type__": "update", "value": files},
        {
            **lookalike,
            **hidden,
            "name": "mixer",
            "shown": {"said": files, "x": fetched},
            "before": files * (count // 3),
        },
    ]


URL = "http://203.0.113.7/x.png"


@pytest.fixture
def fetched(monkeypatch) -> list[str]:
    """Return what addresses the server asks for, none of which it reaches."""
    asked: list[str] = []

    async def note(url: str, *_args, **_options) -> str:
        asked.append(url)
        raise ValueError(url)

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", note)
    monkeypatch.setattr(processing_utils, "async_ssrf_protected_get", note)
    return asked


def paths_in(text: str) -> set[str]:
    """Return every file that an answer names."""
    found = re.findall(r'(?:gradio_api/file=|"path":\s*")([^"\\?]+)', text)
    return {path for path in found if path.startswith("/")}


def test_no_event_gives_back_the_bytes_of_a_file(served: Served, fetched):
    assert len(served.events) > 40
    named: set[str] = set()
    for event in served.events:
        held = [VISITOR if value is None else value for value in served.values(event)]
        tries = [(held, sent) for sent in payloads(list(map(str, served.secrets)), URL, len(FIELD_NAMES))]
        tries += [([sent for _ in held], None) for _, sent in tries[:1] if held]
        for data, sent in tries:
            answer = served.ask(event, data, sent)
            assert SECRET not in answer.text, (event["targets"], data, sent)
            named |= paths_in(answer.text)
    for path in named - {str(secret) for secret in served.secrets}:
        for route in spellings(path):
            assert SECRET not in served.client.get(route).text, path
    assert fetched == []


def test_a_record_is_not_served_in_any_spelling_of_its_address(served: Served):
    secrets = [path.as_posix() for path in served.secrets]
    for path in secrets:
        for spelling in spellings(path):
            answer = served.client.get(spelling)
            assert SECRET not in answer.text, spelling
            assert answer.status_code in (400, 404), (spelling, answer.status_code)
    picture = f"{served.jobs.folder.as_posix()}/{served.run}/stage-0-64x64.png"
    assert served.client.get(f"/gradio_api/file={picture}").status_code == 200


def spellings(path: str) -> list[str]:
    """Return some thirty ways in which an address may name one file."""
    bare, doubled = path.lstrip("/"), path.replace("/", "//")
    coded = "".join(f"%{byte:02x}" for byte in path.encode())
    folder, _, name = path.rpartition("/")
    dotted = f"{folder}/x/../{name}"
    return [
        f"/gradio_api/file={path}",
        f"/gradio_api/file={bare}",
        f"/gradio_api/file=/{path}",
        f"/gradio_api/file={doubled}",
        f"/gradio_api/file={coded}",
        f"/gradio_api/file={quote(coded)}",
        f"/gradio_api/file={dotted}",
        f"/gradio_api/file={dotted.replace('..', '%2e%2e')}",
        f"/gradio_api/file={folder}/./{name}",
        f"/gradio_api/file={path}/",
        f"/gradio_api/file={path}%00.png",
        f"/gradio_api/file={path}?x=.png",
        f"/gradio_api/file={path}%3f.png",
        f"/gradio_api/file={path}%20",
        f"/gradio_api/file={path.upper()}",
        f"/gradio_api/file={path.replace('/', '%5c')}",
        f"/gradio_api/file=file://{path}",
        f"/gradio_api/file%3d{path}",
        f"/gradio_api/f%69le={path}",
        f"/gradio_api/FILE={path}",
        f"/GRADIO_API/file={path}",
        f"/gradio_api//file={path}",
        f"//gradio_api/file={path}",
        f"/gradio_api/./file={path}",
        f"/gradio_api/x/../file={path}",
        f"/gradio_api/x/%2e%2e/file={path}",
        f"/gradio_api/file/{path}",
        f"/gradio_api/file/{bare}",
        f"/gradio_api/file/%2f{bare}",
        f"/file={path}",
        f"/file/{bare}",
        f"/static/..%2f..%2f..%2f..%2f..%2f..%2f..{path}",
        f"/assets/../../../../../../../..{path}",
        f"/svelte/%2e%2e/%2e%2e/%2e%2e/%2e%2e{path}",
        f"/gradio_api/proxy=http://127.0.0.1{path}",
    ]
