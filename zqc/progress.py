"""How long work tells of its progress: to nobody, or as lines that a pipe or a log can hold.

What a terminal shows is in ``zqc.report.bar``.
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINE_EVERY_SHARE = 0.1
_LINE_EVERY_SECONDS = 5.0
_BEAT_SECONDS = 7.0
"""A line at least so often; less than the ten seconds after which people think that it hangs."""

_TICK_SECONDS = 0.5
_LONG_SECONDS = 10.0
"""Work that takes longer is told about in advance."""


class Task(Protocol):
    """One piece of long work."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Count ``steps`` more as done; ``note`` stands beside the bar (a loss, a layer)."""


class Progress(Protocol):
    """Where long work reports to. Tasks and stages may stand inside one another."""

    def task(self, name: str, total: int) -> AbstractContextManager[Task]:
        """Begin a piece of work of ``total`` steps; it ends with the context."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Begin a piece of work whose length nobody knows; it ends with the context."""

    def say(self, text: str) -> None:
        """Tell one thing, such as how long the work is going to take."""


class _Nothing:
    def advance(self, note: str = "", steps: int = 1) -> None:
        pass


class Silent:
    """Reports nothing: the default of the Python interface."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Task]:  # noqa: ARG002 - the protocol's names
        """Return a task that says nothing."""
        yield _Nothing()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:  # noqa: ARG002
        """Say nothing."""
        yield

    def say(self, text: str) -> None:
        """Say nothing."""


def duration(seconds: float) -> str:
    """A time as people say it: ``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def estimate(progress: Progress, seconds: float, what: str) -> None:
    """Say how long work is going to take, if that is long; ``what`` is why."""
    if seconds >= _LONG_SECONDS:
        progress.say(f"About {duration(seconds)} to go: {what}")


class Lines:
    """Plain lines: at the begin of a stage, at every tenth of a task, and a sign of life.

    A task has a line at every tenth of the work, but at most every five seconds, one at its end,
    and one after the first step if the rest is long. Where nothing has been written for a while, a
    line says what goes on, from a thread that lives as long as the outermost stage or task.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.RLock()
        self._works: list[_Work] = []
        self._last = clock()

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Task]:
        """Write lines while the work goes on."""
        work = _Work(name, self._clock(), total)
        with self._during(work):
            yield _LineTask(self, work)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Write a line at the begin, and others while it lasts."""
        with self._during(_Work(name, self._clock())):
            self.say(name)
            yield

    def say(self, text: str) -> None:
        """Write a line."""
        with self._lock:
            self._last = self._clock()
            self._stream.write(f"{text}\n")  # at once: other threads and processes write, too
            self._stream.flush()

    def beat(self) -> None:
        """Write what goes on, unless something was written a moment ago."""
        with self._lock:
            now = self._clock()
            if self._works and now - self._last >= _BEAT_SECONDS:
                self.say(self._works[-1].text(now))

    def _advance(self, work: _Work, note: str, steps: int) -> None:
        with self._lock:
            now = self._clock()
            work.advance(now, note, steps)
            if work.is_due(now):
                work.told, work.told_at = work.done, now
                self.say(work.text(now))

    @contextmanager
    def _during(self, work: _Work) -> Iterator[None]:
        if self._works:
            with self._listed(work):
                yield
        else:
            with self._listed(work), _repeated(self.beat):
                yield

    @contextmanager
    def _listed(self, work: _Work) -> Iterator[None]:
        with self._lock:
            self._works.append(work)
        try:
            yield
        finally:
            with self._lock:
                self._works.remove(work)


@contextmanager
def _repeated(call: Callable[[], None]) -> Iterator[None]:
    """Call something again and again from another thread, until the context ends."""
    ended = threading.Event()

    def run() -> None:
        with suppress(OSError, ValueError):  # nobody reads any more, or the stream is closed
            while not ended.wait(_TICK_SECONDS):
                call()

    thread = threading.Thread(target=run, name="zqc-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass(eq=False)
class _Work:
    """A task, or a stage: that is one without a total. Times are in seconds of the clock."""

    name: str
    begun: float
    total: int | None = None
    done: int = 0
    note: str = ""
    advanced: float = 0.0
    told: int = 0
    told_at: float = 0.0

    def advance(self, now: float, note: str, steps: int) -> None:
        self.done, self.note, self.advanced = self.done + steps, note, now

    def is_due(self, now: float) -> bool:
        """Whether the last step is worth a line."""
        total = self.total or 0
        if self.done >= total:
            return True
        if not self.told and self.left(now) >= _LONG_SECONDS:
            return True
        tenth = self.done - self.told >= _LINE_EVERY_SHARE * total
        return tenth and now - max(self.told_at, self.begun) >= _LINE_EVERY_SECONDS

    def left(self, now: float) -> float:
        """Seconds that the rest will take if its steps are like those so far; 0 without any."""
        each = (self.advanced - self.begun) / max(self.done, 1)
        return max(0.0, each * ((self.total or 0) - self.done) - (now - self.advanced))

    def text(self, now: float) -> str:
        spent = now - self.begun
        if self.total is None:
            return f"{self.name}: {duration(spent)} so far"
        said = f"{self.name}: {self.done}/{self.total}" + (self.note and f", {self.note}")
        if not self.done:
            return f"{said}, {duration(spent)} so far"
        if self.done < self.total:
            return f"{said}, {duration(self.left(now))} left"
        return f"{said}, {spent:.1f} s"


@dataclass(frozen=True)
class _LineTask:
    lines: Lines
    work: _Work

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.lines._advance(self.work, note, steps)
