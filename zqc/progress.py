"""How long work tells of its progress: a bar on a terminal, plain lines in a pipe, or nothing."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_LINE_EVERY_SHARE = 0.1
_LINE_EVERY_SECONDS = 5.0


class Task(Protocol):
    """One piece of long work."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Count ``steps`` more as done; ``note`` stands beside the bar (a loss, a layer)."""


class Progress(Protocol):
    """Where long work reports to."""

    def task(self, name: str, total: int) -> AbstractContextManager[Task]:
        """Begin a piece of work of ``total`` steps; it ends with the context."""


class _Nothing:
    def advance(self, note: str = "", steps: int = 1) -> None:
        pass


class Silent:
    """Reports nothing: the default of the Python interface."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Task]:  # noqa: ARG002 - the protocol's names
        """Return a task that says nothing."""
        yield _Nothing()


def terminal_or_lines(stream: TextIO | None = None) -> Progress:
    """Return a bar for a terminal and plain lines for everything else.

    Args:
        stream: Where to report; the standard error, so that results have the output to themselves.
    """
    stream = sys.stderr if stream is None else stream
    return Bar(stream) if stream.isatty() else Lines(stream)


class Bar:
    """A bar with the count, the note and the time that is left, by rich."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Task]:
        """Show a bar while the work goes on; it stays, full, when the work is done."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(file=self._stream)) as bars:
            yield _BarTask(bars, bars.add_task(name, total=total, note=""))


class _BarTask:
    def __init__(self, bars: RichProgress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, note: str = "", steps: int = 1) -> None:
        self._bars.update(self._task, advance=steps, note=note)


class Lines:
    """A line at every tenth of the work, but at most every five seconds, and one at its end."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Task]:
        """Write lines while the work goes on."""
        yield _LineTask(self._stream, self._clock, name, total)


class _LineTask:
    def __init__(self, stream: TextIO, clock: Callable[[], float], name: str, total: int) -> None:
        self._stream = stream
        self._clock = clock
        self._name = name
        self._total = total
        self._done = 0
        self._written = 0
        self._begun = self._last = clock()

    def advance(self, note: str = "", steps: int = 1) -> None:
        self._done += steps
        now = self._clock()
        tenth = self._done - self._written >= _LINE_EVERY_SHARE * self._total
        if self._done < self._total and not (tenth and now - self._last >= _LINE_EVERY_SECONDS):
            return
        self._written, self._last = self._done, now
        parts = [f"{self._name}: {self._done}/{self._total}"]
        if note:
            parts.append(note)
        spent = now - self._begun
        left = spent / self._done * (self._total - self._done)
        parts.append(f"{left:.0f} s left" if left else f"{spent:.1f} s")
        print(", ".join(parts), file=self._stream, flush=True)
