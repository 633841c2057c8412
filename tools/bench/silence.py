"""How long a command leaves its user without a sign of life.

    python -m tools.bench.silence [--terminal] -- zqc compile examples/detector.onnx -o out.onnx

The command runs with both outputs in one pipe, or on a terminal of 80 columns with ``--terminal``.
Printed are the time to its first byte, the longest time between two bytes and when that began, and
the whole time.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import click


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--terminal", is_flag=True, help="Let the command believe it has a terminal.")
@click.option("--show", is_flag=True, help="Pass on what it writes, with the seconds before it.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def main(command: tuple[str, ...], terminal: bool, show: bool) -> None:
    """Run COMMAND and measure its silences."""
    begun = last = time.monotonic()
    first, longest, since = None, 0.0, 0.0
    for content in _output(command, terminal=terminal):
        now = time.monotonic()
        first = now - begun if first is None and content else first
        if now - last > longest:
            longest, since = now - last, last - begun
        last = now
        if show:
            for line in filter(None, content.decode(errors="replace").splitlines()):
                print(f"{now - begun:7.1f} {line}")
    click.echo(f"first byte       {'never' if first is None else f'{first:.1f} s'}")
    click.echo(f"longest silence  {longest:.1f} s, from second {since:.0f} on")
    click.echo(f"whole time       {last - begun:.1f} s")


def _output(command: Sequence[str], *, terminal: bool) -> Iterator[bytes]:
    """What a command writes, piece by piece, and nothing at last, when it has ended."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    size = {"COLUMNS": "80", "LINES": "24"} if terminal else {}
    process = subprocess.Popen(command, stdout=writer, stderr=writer, env=os.environ | size)
    os.close(writer)
    try:
        while content := os.read(reader, 65536):
            yield content
    except OSError:  # how Linux says that nobody writes to a terminal any more
        pass
    if code := process.wait():
        print(f"the command failed with exit code {code}", file=sys.stderr)
    yield b""


if __name__ == "__main__":
    main()
