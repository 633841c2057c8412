"""The peak memory of the process that asks."""

from __future__ import annotations

from zqc.runtime import process_memory


def peak_megabytes() -> float:
    """The largest resident memory of this process so far, in MB (10⁶ bytes)."""
    peak = process_memory.peak()
    assert peak is not None  # the tools run on systems that tell
    return peak / 1e6
