"""Latency of models, measured in alternation so that a drifting machine treats all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zqc.runtime.session import Runner

_SECONDS = 3.0
_ROUNDS = 30
_LEAST_ROUNDS = 3


def median_latencies(
    runners: Sequence[Runner], feeds: Mapping[str, NDArray[np.generic]]
) -> list[float]:
    """Return the median time of one run of each, in milliseconds.

    After one warm-up they take turns, for 30 rounds or 3 seconds, 3 rounds at least.
    """
    times = alternating_times(runners, feeds, rounds=_ROUNDS, seconds=_SECONDS)
    return [float(np.median(measured.latency)) for measured in times]


@dataclass(frozen=True)
class Times:
    """The times of all runs of a model in milliseconds, in their order.

    Attributes:
        latency: From the call to the answer.
        processor: What all threads of this process were at work together. Other processes that want
            the same cores add to the latency, and hardly to this.
    """

    latency: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def alternating_times(
    runners: Sequence[Runner],
    feeds: Mapping[str, NDArray[np.generic]],
    *,
    rounds: int,
    seconds: float = math.inf,
    each: Callable[[], None] = lambda: None,
) -> list[Times]:
    """Return the times of all runs of each, after one warm-up that is left out.

    Args:
        runners: What is measured; they take turns.
        feeds: The inputs of every run.
        rounds: Runs of each.
        seconds: Fewer rounds, but at least 3, when they take longer than that together.
        each: Called after every run.
    """
    for runner in runners:
        runner(feeds)
    times = [Times() for _ in runners]
    deadline = time.perf_counter() + seconds
    least, done = min(rounds, _LEAST_ROUNDS), 0
    while done < least or (done < rounds and time.perf_counter() < deadline):
        for runner, measured in zip(runners, times, strict=True):
            start, worked = time.perf_counter(), time.process_time()
            runner(feeds)
            measured.latency.append((time.perf_counter() - start) * 1e3)
            measured.processor.append((time.process_time() - worked) * 1e3)
            each()
        done += 1
    return times
