"""Latencies are medians of runs in alternation."""

import numpy as np
import pytest

from zqc.runtime import latency
from zqc.runtime.latency import alternating_times, median_latencies


class Clock:
    """A clock that only the runners move."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        """Return the time in seconds."""
        return self.now

    def process_time(self):
        """Return how long the process was at work: half of the time."""
        return self.now / 2


class Runner:
    """Takes given times, the last one again and again, and writes its name down."""

    def __init__(self, clock, name, log, *seconds):
        self.clock, self.name, self.log, self.seconds = clock, name, log, list(seconds)

    def __call__(self, feeds):
        """Run."""
        self.log.append((self.name, feeds))
        self.clock.now += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]


@pytest.fixture
def clock(monkeypatch):
    """The clock that ``latency`` reads."""
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    return clock


def test_runners_take_turns(clock):
    """After a warm-up of each, thirty rounds of one after the other."""
    log = []
    runners = [Runner(clock, name, log, 0.001) for name in "ab"]
    feeds = {"x": np.zeros(1)}
    median_latencies(runners, feeds)
    assert [name for name, _ in log] == ["a", "b"] * 31
    assert all(given is feeds for _, given in log)


def test_medians_are_in_milliseconds(clock):
    """The warm-up and one slow run do not count."""
    runners = [
        Runner(clock, "a", [], 5.0, 0.002, 0.5, 0.002),
        Runner(clock, "b", [], 9.0, 0.004),
    ]
    assert median_latencies(runners, {}) == pytest.approx([2.0, 4.0])


@pytest.mark.parametrize(("seconds", "rounds"), [(0.5, 6), (10.0, 3)])
def test_slow_models_get_fewer_rounds(clock, seconds, rounds):
    """Three seconds are enough, but three rounds are the least."""
    log = []
    assert median_latencies([Runner(clock, "a", log, seconds)], {}) == [seconds * 1e3]
    assert len(log) == 1 + rounds


def test_all_times_are_kept(clock):
    """Every round but the warm-up, with the processor's time beside; as many as asked for."""
    log, calls = [], []
    runners = [
        Runner(clock, "a", log, 9.0, 0.001, 0.004),
        Runner(clock, "b", log, 9.0, 5.0),
    ]
    first, second = alternating_times(runners, {}, rounds=2, each=lambda: calls.append(len(log)))
    assert first.latency == pytest.approx([1, 4])
    assert first.processor == pytest.approx([0.5, 2])
    assert second.latency == pytest.approx([5000, 5000])
    assert calls == [3, 4, 5, 6]
