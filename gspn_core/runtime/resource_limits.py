"""Memory limits of this process alone: RLIMIT_AS of all that it maps, RLIMIT_DATA of what it may write to.

Unlike a control group's, such a limit ends no process: memory is refused at once.
"""

from __future__ import annotations

from pathlib import Path

from gspn_core.runtime.cgroup import Limit

# In pages: all that is mapped first, data and stack sixth. See proc(5).
_STATM = Path("/proc/self/statm")
_KINDS = (("RLIMIT_AS", 0), ("RLIMIT_DATA", 5))


def resource_limits(statm: Path = _STATM) -> tuple[Limit, ...]:
    """Return this process's soft limits with what it uses of each; () if it has none or they are unknown.

    Args:
        statm: the file of what the process uses.
    """
    try:
        import resource
    except ImportError:
        # Windows has no such limits.
        return ()
    soft = {place: resource.getrlimit(getattr(resource, name))[0] for name, place in _KINDS}
    limited = {place: limit for place, limit in soft.items() if limit != resource.RLIM_INFINITY}
    if not limited:
        return ()
    try:
        used = [int(pages) * resource.getpagesize() for pages in statm.read_text(encoding="ascii").split()]
        return tuple(Limit(limit_bytes=limit, used_bytes=used[place]) for place, limit in limited.items())
    except (OSError, ValueError, IndexError):
        return ()
