"""Files that are written when they are asked for: known names alone, of runs that there are."""

from __future__ import annotations

import io
import zipfile

import pytest

from gspn_core.settings import Settings
from tests.ui.guard.conftest import Served

OWNER = "the owner of a removed run"


def address_of(served: Served, run: str, name: str) -> str:
    return f"/gradio_api/file={served.jobs.folder.as_posix()}/{run}/{name}"


@pytest.mark.parametrize(
    ("name", "kind"), [("stage-0-64x64.webp", "image/webp"), ("stage-0-64x64.jpeg", "image/jpeg")]
)
def test_a_stage_comes_in_another_format_and_may_be_kept(served: Served, name, kind):
    answer = served.client.get(address_of(served, served.run, name))
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert "immutable" in answer.headers["cache-control"]
    assert "sandbox" in answer.headers["content-security-policy"]
    assert (served.jobs.folder / served.run / name).is_file()


def test_a_zip_is_sent_as_it_is_made_and_leaves_no_file(served: Served):
    answer = served.client.get(address_of(served, served.run, "run.zip"))
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
    assert "stage-0-64x64.png" in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert not (served.jobs.folder / served.run / "run.zip").exists()


@pytest.mark.parametrize(
    "name",
    [
        "stage-0-63x64.webp",
        "stage-7-64x64.webp",
        "stage-0-64x64.gif",
        "film.webp",
        "job.zip",
        "about.json",
        "thumb.webp",
        "%66ilm.webp/../about.json",
    ],
)
def test_there_is_nothing_under_other_names(served: Served, name):
    assert served.client.get(address_of(served, served.run, name)).status_code == 404


@pytest.mark.parametrize("name", ["stage-0-64x64.webp", "stage-0-64x64.jpeg", "run.zip", "film.webp"])
def test_a_removed_run_has_none(served: Served, name):
    run = served.jobs.submit(Settings(prompt="a toy", seed=2, target=64), visitor=OWNER)
    list(served.jobs.follow(run))
    assert served.client.get(address_of(served, run, "stage-0-64x64.webp")).status_code == 200
    served.jobs.delete(run, OWNER)
    assert served.client.get(address_of(served, run, name)).status_code == 404


def test_a_request_that_sends_something_gets_nothing(served: Served):
    for method in ("POST", "PUT", "DELETE"):
        answer = served.client.request(method, address_of(served, served.run, "run.zip"))
        assert answer.status_code in (403, 404, 405)
