"""The operating system's name of a thread."""

import threading
from contextlib import suppress
from pathlib import Path

_MOST_BYTES = 15


def show_thread_name() -> None:
    """Give the system the first 15 bytes of the current thread's name, for `top -H` and the benchmarks.

    Python itself does so from 3.14 on. Does nothing where there is no /proc.
    """
    name = threading.current_thread().name.encode()[:_MOST_BYTES]
    with suppress(OSError):
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_bytes(name)
