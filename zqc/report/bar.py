"""How long work tells of its progress on a terminal, by rich, which draws from a thread."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from zqc.progress import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

    from zqc.progress import Progress as Reporting
    from zqc.progress import Task

_BAR_WIDTH = 16  # all columns of a usual task together are no wider than 80


def bar_or_lines() -> Reporting:
    """Moving bars on a terminal and in a notebook, plain lines for everything else.

    Both go to the standard error: results have the standard output to themselves.
    """
    if sys.stderr.isatty() or Console().is_jupyter:
        return Bar(sys.stderr)
    return Lines(sys.stderr)


class Bar:
    """Bars with the count, the note and the time that is left; below, spinners for stages.

    Bars stay when their work is done, spinners go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._bars, self._stages = _bars(self._console), _stages(self._console)
        self._open = 0

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Task]:
        """Show a bar while the work goes on; it stays, full, when the work is done."""
        with self._shown():
            yield _BarTask(self._bars, self._bars.add_task(name, total=total, note=""))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show a spinner and the time it takes."""
        with self._shown():
            stage = self._stages.add_task(name, total=None)
            try:
                yield
            finally:
                self._stages.remove_task(stage)

    def say(self, text: str) -> None:
        """Write a line above what moves."""
        self._console.print(text, markup=False, highlight=False)

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Draw from the begin of the outermost piece of work to its end."""
        if self._open:
            self._open += 1
            try:
                yield
            finally:
                self._open -= 1
            return
        self._bars, self._stages = _bars(self._console), _stages(self._console)
        with Live(Group(self._bars, self._stages), console=self._console, refresh_per_second=8):
            self._open = 1
            try:
                yield
            finally:
                self._open = 0


def _bars(console: Console) -> Progress:
    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=_BAR_WIDTH),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, auto_refresh=False)


def _stages(console: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, auto_refresh=False)


class _BarTask:
    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, note: str = "", steps: int = 1) -> None:
        self._bars.update(self._task, advance=steps, note=note)
