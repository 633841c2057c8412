"""What a command shows: progress, its result, an error; on a terminal no word is broken."""

from __future__ import annotations

import io
import logging
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rich.text import Text

    from zqc.progress import Progress

_WIDEST = 100
"""Longer lines are hard to read, however wide the terminal is."""

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""What moves the cursor of a terminal, or colours it: names in files may have that. A line feed is
between lines."""


def progress() -> Progress:
    """Moving bars on a terminal and plain lines for everything else, on the standard error.

    Without a terminal nothing has to wait for rich.
    """
    if sys.stderr.isatty():
        from zqc.report.bar import Bar

        return Bar(sys.stderr)
    from zqc.progress import Lines

    return Lines(sys.stderr)


def log(verbose: int) -> None:
    """Send the log to the standard error: warnings, with -v news, with -vv everything."""
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.ERROR, force=True)
    for name in ("zqc", "passes"):
        logging.getLogger(name).setLevel(levels[min(verbose, 2)])


class _StandardError(logging.Handler):
    """Looks the stream up for each record: bars put one of their own there while they move."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


def show(text: Text) -> None:
    """Print a result: wrapped on a terminal, but a line for each fact in a pipe, for grep."""
    from rich.console import Console

    from zqc.report.text import hanging

    console = Console(file=sys.stdout, highlight=False)
    text.plain = printable(text.plain)
    if console.is_terminal:
        text = hanging(text, width_of(sys.stdout))
    console.print(text, soft_wrap=True)


def printable(text: str) -> str:
    """The text with something to see in the place of each character that steers a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def complain(error: str | click.ClickException) -> None:
    """Print an error, wrapped at words on a terminal."""
    if isinstance(error, click.ClickException):
        said = io.StringIO()
        error.show(said)  # with the usage
        text = said.getvalue().rstrip("\n")
    else:
        text = f"Error: {error}"
    if sys.stderr.isatty():
        text = "\n".join(_wrapped(line, width_of(sys.stderr)) for line in text.split("\n"))
    click.echo(text, err=True)


def tell(text: str) -> None:
    """Print a line beside the result."""
    click.echo(text, err=True)


def width_of(stream: TextIO) -> int:
    """The columns to use of a terminal."""
    from rich.console import Console

    return min(Console(file=stream).width, _WIDEST)


def _wrapped(line: str, width: int) -> str:
    """A line, wrapped; what follows ``Error: `` stays to its right."""
    label = "Error: " if line.startswith("Error: ") else ""
    settings: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(line, width, subsequent_indent=" " * len(label), **settings)
