from __future__ import annotations

import errno
import os

import pytest

from gspn_core.files import replacing, write_failure


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
