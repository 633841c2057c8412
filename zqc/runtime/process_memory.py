"""The memory of this process."""

from __future__ import annotations

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
"""Where Linux tells it."""


def peak() -> int | None:
    """The largest resident memory so far, in bytes; None on a system that does not tell.

    Linux lets ``ru_maxrss`` of a new process begin with what its parent had, so that a small child
    of a large process looks large; VmHWM is of the process alone.
    """
    if STATUS.exists():
        return counted("VmHWM")
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def counted(key: str) -> int:
    """One of Linux's counts in bytes: VmRSS is what is resident now, VmHWM the most so far."""
    lines = (line.partition(":") for line in STATUS.read_text().splitlines())
    return next(int(value.split()[0]) * 1024 for found, _, value in lines if found == key)
