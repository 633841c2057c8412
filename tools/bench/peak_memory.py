"""The peak memory of the process that asks, and of a piece of work in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

from zqc.runtime import process_memory

_P = ParamSpec("_P")
_R = TypeVar("_R")

_CLEAR = Path("/proc/self/clear_refs")
"""Where Linux forgets what the largest resident memory was, when it is told 5."""


def peak_megabytes() -> float:
    """The largest resident memory of this process so far, in MB (10⁶ bytes)."""
    peak = process_memory.peak()
    assert peak is not None  # the tools run on systems that tell
    return peak / 1e6


@contextmanager
def growth() -> Iterator[list[float]]:
    """Measure what a block takes at most on top of what there is before it, in MB; Linux alone.

    Yields:
        A list that holds the one number when the block has ended.
    """
    before, found = process_memory.counted("VmRSS"), list[float]()
    _CLEAR.write_text("5")
    yield found
    found.append((process_memory.counted("VmHWM") - before) / 1e6)


def apart(work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """What a function of a module returns in a new process, where nothing was allocated yet."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *args, **kwargs).result()
