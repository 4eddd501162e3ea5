"""What the operating system calls a thread."""

import threading
from contextlib import suppress
from pathlib import Path

_MOST_BYTES = 15


def show_thread_name() -> None:
    """Tell the system the current thread's name, its first 15 bytes, as `top -H` and the benchmarks read it.

    Python keeps the name to itself before 3.14. Does nothing where there is no /proc.
    """
    name = threading.current_thread().name.encode()[:_MOST_BYTES]
    with suppress(OSError):
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_bytes(name)
