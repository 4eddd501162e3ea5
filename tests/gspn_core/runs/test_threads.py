"""The system's names of threads."""

import threading
from pathlib import Path

import psutil
import pytest

from gspn_core.runs.threads import show_thread_name


@pytest.mark.skipif(not psutil.LINUX, reason="only /proc tells a thread's name")
def test_the_system_reads_the_first_15_bytes_of_a_threads_name():
    found = []

    def work():
        show_thread_name()
        found.append(Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text().strip())

    thread = threading.Thread(target=work, name="gspn-writer-of-files")
    thread.start()
    thread.join()
    assert found == ["gspn-writer-of-"]


def test_a_system_that_will_not_hear_of_it_changes_nothing(monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    show_thread_name()
