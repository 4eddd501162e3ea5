"""How many connections and files a server may hold open."""

from __future__ import annotations

# More than the connections of many addresses, each with a file.
MOST_OPEN = 65_536


def allow_open_files(most: int = MOST_OPEN) -> int | None:
    """Raise this process's limit as far as it may; many systems begin with 1,024.

    Args:
        most: What is enough.

    Returns:
        The limit now, None where the system has none (Windows).
    """
    try:
        import resource
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = most if hard == unlimited else min(most, hard)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
