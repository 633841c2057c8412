"""The peak memory of the process that asks."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_megabytes() -> float:
    """The largest resident memory of this process so far, in MB (10⁶ bytes).

    Linux lets ``ru_maxrss`` of a new process begin with what its parent had, so that a small child
    of a large process looks large; VmHWM is of the process alone.
    """
    if _STATUS.exists():
        (line,) = (x for x in _STATUS.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
