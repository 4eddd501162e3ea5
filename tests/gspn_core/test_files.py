from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading

import pytest

from gspn_core.errors import GspnError
from gspn_core.files import FolderClaim, replacing, write_failure, write_json, write_text


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "job.json"
    path.write_bytes(b"old")
    with replacing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_a_block_that_fails_leaves_nothing_behind(tmp_path):
    path = tmp_path / "job.json"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "gone" / "x.png"):
        pass


def test_the_sentence_names_the_file_and_the_reason():
    sentence = write_failure("x.png", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert sentence.startswith("x.png could not be written (No space left on device);")


def test_text_and_json_make_their_folder_and_end_with_a_line_break(tmp_path):
    path = tmp_path / "deep" / "figures.json"
    write_json(path, {"name": "a lake é"}, indent=1)
    assert json.loads(path.read_text("utf-8")) == {"name": "a lake é"}
    assert path.read_bytes().endswith(b"}\n")
    write_text(path, "other")
    assert path.read_text() == "other"
    assert [*path.parent.iterdir()] == [path]


def test_what_json_has_no_form_for_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "figures.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert json.loads(path.read_text()) == [1]


def test_a_folder_is_held_once_and_given_back_from_any_thread(tmp_path):
    first, second = FolderClaim(tmp_path / "runs"), FolderClaim(tmp_path / "runs")
    first.take()
    with pytest.raises(GspnError, match="runs is in use by another server"):
        second.take()
    giving_back = threading.Thread(target=first.release)
    giving_back.start()
    giving_back.join()
    second.take()
    second.release()
    second.release()


def test_a_process_that_dies_gives_its_folder_back(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom gspn_core.files import FolderClaim\n"
        "FolderClaim(Path(sys.argv[1])).take()\nos._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    assert (tmp_path / ".in-use").exists()
    FolderClaim(tmp_path).take()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(GspnError, match="could not be written"):
        FolderClaim(tmp_path / "file" / "runs").take()
