"""How a command begins and ends: what it works on, its result, or what went wrong."""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from zqc.cli import screen, signals, streams
from zqc.errors import OutputError
from zqc.files.outputs import missing, written
from zqc.report.json_text import result_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.text import Text

    from zqc.progress import Progress

EXIT_ERROR = 1
EXIT_LIMIT = 3
EXIT_UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h


@contextmanager
def working(on: str, model: Path) -> Iterator[Progress]:
    """Say at once what a command does to which model, and now and then that it still does."""
    progress = screen.progress()
    with progress.stage(f"{on} {model.name}"):
        yield progress


def print_result(result: Any, render: Callable[[Any], Text], *, as_json: bool) -> None:
    """Print a result as text or as JSON."""
    if as_json:
        click.echo(result_text(result))
    else:
        screen.show(render(result))
    check_printed()
    if streams.failure(sys.stdout) is not None and written():
        screen.tell(_appeared())


def check_printed() -> None:
    """Raise OutputError if what was printed is lost, unless its reader left of its own."""
    lost = streams.failure(sys.stdout)
    if lost is not None and not streams.has_left(lost):
        raise OutputError(f"the result cannot be printed: {lost.strerror or lost}")


def interrupted(error: BaseException, *, as_json: bool) -> int:
    """Say that a signal ended the work, and what there is; return the exit code.

    Args:
        error: ``KeyboardInterrupt``, which may have a message, or what click makes of it.
        as_json: Whether it is said as JSON.
    """
    # Click 8.1.0 hides the cause of its Abort, which stays in the context.
    cause = error.__context__ if isinstance(error, click.Abort) else error
    there = f"; {_appeared()}" if written() else ", nothing was written"
    message = str(cause or "") or f"interrupted{there}"
    return _said(KeyboardInterrupt(), message, signals.exit_code(), as_json=as_json, result=None)


def fail(
    error: BaseException, message: str, code: int, *, as_json: bool, result: Any = None
) -> int:
    """Say what went wrong and return the exit code; a result goes with the error as JSON.

    What was written before is said, too, unless the result tells it.
    """
    if result is None and written():
        message += f"; {_appeared()}"
    return _said(error, message, code, as_json=as_json, result=result)


def _said(error: BaseException, message: str, code: int, *, as_json: bool, result: Any) -> int:
    message = screen.printable(" ".join(message.split()))
    log = logging.getLogger("zqc")
    if code == EXIT_UNEXPECTED and not log.isEnabledFor(logging.INFO):
        message += "; --verbose shows where, please report it"
    told = False
    if as_json:
        stopped = isinstance(error, KeyboardInterrupt)
        name = signals.name() if stopped else type(error).__name__
        before = streams.failure(sys.stdout)
        click.echo(result_text(result, error={"type": name, "message": message}))
        lost = streams.failure(sys.stdout)
        told = lost is None and not streams.is_closed(sys.stdout)
        if lost is not None and before is None and not streams.has_left(lost):
            message += f"; nor can that be printed as JSON: {lost.strerror or lost}"
    if not told:
        screen.complain(message)
    if log.isEnabledFor(logging.DEBUG) or (
        code == EXIT_UNEXPECTED and log.isEnabledFor(logging.INFO)
    ):
        traceback.print_exception(error, file=sys.stderr)
    return code


def _appeared() -> str:
    """What was written before something went wrong, and what was not."""
    *others, last = map(str, written())
    told = f"{', '.join(others)} and {last} were written" if others else f"{last} was written"
    for path in missing():
        told += f", {path} {'is still the old one' if path.exists() else 'was not'}"
    return told
