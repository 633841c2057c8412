"""Latency of two models, measured in alternation so that a drifting machine treats both alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from zqc.runtime import Runner

_SECONDS = 3.0
_ROUNDS = 30


def median_latencies(
    runners: Sequence[Runner], feeds: Mapping[str, NDArray[np.generic]]
) -> list[float]:
    """Return the median time of one run of each, in milliseconds.

    After one warm-up they take turns, for 30 rounds or 3 seconds, 3 rounds at least.
    """
    for runner in runners:
        runner(feeds)
    times: list[list[float]] = [[] for _ in runners]
    deadline = time.perf_counter() + _SECONDS
    while len(times[0]) < 3 or (len(times[0]) < _ROUNDS and time.perf_counter() < deadline):
        for runner, measured in zip(runners, times, strict=True):
            start = time.perf_counter()
            runner(feeds)
            measured.append((time.perf_counter() - start) * 1e3)
    return [float(np.median(measured)) for measured in times]
