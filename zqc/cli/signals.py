"""SIGTERM does what Ctrl-C does, with an exit code of its own."""

from __future__ import annotations

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
    """End the process with this code, at once if a signal came, then or now.

    Python itself ends by SIGINT after a ``KeyboardInterrupt`` that went through an ``exec``, such
    as one in ``dataclasses``, though it was caught behind it.
    """
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(code))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if _last is not None:
        os._exit(code)
    sys.exit(code)


def _raise(number: int, _frame: FrameType | None) -> None:
    global _last  # noqa: PLW0603 - a process has one last signal
    _last = number
    raise KeyboardInterrupt
