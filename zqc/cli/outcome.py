"""How a command begins and ends: what it works on, its result, or what went wrong."""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from zqc.cli import screen
from zqc.report.json_text import result_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.text import Text

    from zqc.progress import Progress

EXIT_ERROR = 1
EXIT_LIMIT = 3
EXIT_UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


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
        return
    screen.show(render(result))


def fail(
    error: BaseException, message: str, code: int, *, as_json: bool, result: Any = None
) -> int:
    """Say what went wrong and return the exit code; a result goes with the error as JSON."""
    message = " ".join(message.split())
    log = logging.getLogger("zqc")
    if code == EXIT_UNEXPECTED and not log.isEnabledFor(logging.INFO):
        message += "; --verbose shows where, please report it"
    if as_json:
        said = {"type": type(error).__name__, "message": message}
        click.echo(result_text(result, error=said))
    else:
        screen.complain(message)
    if log.isEnabledFor(logging.DEBUG) or (
        code == EXIT_UNEXPECTED and log.isEnabledFor(logging.INFO)
    ):
        traceback.print_exception(error, file=sys.stderr)
    return code
