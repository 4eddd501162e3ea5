"""The runs that come with the embedded model: they are whole, and put among a server's runs once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from gspn_core.errors import GspnError
from gspn_core.images.load import digest
from gspn_core.models.catalog import EXAMPLES_FOLDER, WORLD
from gspn_core.runs.examples import example_ids, install_examples
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.store import Store
from gspn_core.settings import Settings
from tests.drills.toy import paint, plan_of

IDS = example_ids(EXAMPLES_FOLDER)


def test_there_are_some_and_the_first_is_of_the_prompt_that_the_form_opens_with(tmp_path):
    assert len(IDS) >= 6
    install_examples(EXAMPLES_FOLDER, tmp_path)
    assert Store(tmp_path).read_job(IDS[0]).settings["prompt"] == WORLD.examples[0]


@pytest.mark.parametrize("example", IDS)
def test_an_example_is_a_finished_run_with_all_its_files(example, tmp_path):
    install_examples(EXAMPLES_FOLDER, tmp_path)
    store = Store(tmp_path)
    view = store.read_job(example)
    assert view.state == "done" and view.seed_drawn and store.read_about(example) == {}
    assert store.thumb_file(example).is_file()
    for stage in view.stages:
        assert stage.proxy_path and stage.tiles_path
        with Image.open(stage.png_path) as image:
            assert image.size == (stage.width, stage.height) and digest(image) == stage.digest
    text = (EXAMPLES_FOLDER / example / "job.json").read_text()
    assert not any(
        Path(name).is_absolute()
        for name in json.loads(text)["view"]["stages"][0].values()
        if isinstance(name, str)
    )


def test_what_is_there_is_left_alone_and_what_lost_its_record_comes_back(tmp_path):
    first, second = IDS[:2]
    assert install_examples(EXAMPLES_FOLDER, tmp_path) == IDS
    (tmp_path / first / "thumb.jpg").write_bytes(b"mine")
    (tmp_path / second / "job.json").unlink()
    shutil.rmtree(tmp_path / IDS[2])
    assert install_examples(EXAMPLES_FOLDER, tmp_path) == IDS
    assert (tmp_path / first / "thumb.jpg").read_bytes() == b"mine"
    assert all((tmp_path / example / "job.json").is_file() for example in IDS)
    assert not list(tmp_path.glob(".*.part"))


def test_what_a_killed_server_left_goes_and_another_versions_gives_way(tmp_path):
    install_examples(EXAMPLES_FOLDER, tmp_path)
    (tmp_path / f".{IDS[0]}.0badf00d.part").mkdir()
    record = tmp_path / IDS[0] / "job.json"
    record.write_text(record.read_text().replace("beach", "peach"))
    assert install_examples(EXAMPLES_FOLDER, tmp_path) == IDS
    assert not list(tmp_path.glob(".*.part")) and "peach" not in record.read_text()


def test_examples_are_never_removed_for_room_nor_by_a_visitor(tmp_path):
    install_examples(EXAMPLES_FOLDER, tmp_path)
    jobs = RunQueue(paint, tmp_path, plan=plan_of, keep_bytes=1, view_seconds=0.0)
    try:
        for seed in range(3):
            list(jobs.follow(jobs.submit(Settings(prompt="a toy", seed=seed, target=64))))
        assert all(jobs.view(example).state == "done" for example in IDS)
        for act in (lambda: jobs.delete(IDS[0], "anyone"), lambda: jobs.annotate(IDS[0], "anyone", note="x")):
            with pytest.raises(GspnError):
                act()
    finally:
        jobs.close()


def test_a_folder_that_takes_none_costs_the_examples_alone(tmp_path, monkeypatch, caplog):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gspn_core.runs.examples.shutil.copytree", full)
    assert install_examples(EXAMPLES_FOLDER, tmp_path) == ()
    assert "No space left" in caplog.text
    assert install_examples(tmp_path / "nothing", tmp_path) == ()
