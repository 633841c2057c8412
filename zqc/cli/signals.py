"""SIGTERM does what Ctrl-C does, with an exit code of its own."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_last: int | None = None


def interrupt() -> None:
    """Let either of them raise ``KeyboardInterrupt``; what was ignored from the start stays so."""
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def exit_code() -> int:
    """128 and the number of the signal that came last, as shells have it; Ctrl-C if none did."""
    return 128 + (signal.SIGINT if _last is None else _last)


def leave(code: int) -> NoReturn:
    """End the process with this code.

    A command may have come to an end though a signal came, as learning keeps the best so far. That
    is what Ctrl-C is for; SIGTERM has its exit code in any case.

    The interpreter is not asked to tidy up: meanwhile Ctrl-C would kill it, and after one that went
    through an ``exec``, such as those of ``dataclasses``, it kills itself.
    """
    code = code or (exit_code() if _last == signal.SIGTERM else 0)
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(code))
    if _last is None:
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _raise(number: int, _frame: FrameType | None) -> None:
    global _last  # noqa: PLW0603 - a process has one last signal
    _last = number
    raise KeyboardInterrupt
