"""SIGTERM does what Ctrl-C does, with an exit code of its own."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_last = signal.SIGINT


def interrupt() -> None:
    """Let either of them raise ``KeyboardInterrupt``; what was ignored from the start stays so."""
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def exit_code() -> int:
    """128 and the number of the signal that came last, as shells have it; Ctrl-C if none did."""
    return 128 + _last


def leave_at_once(code: int) -> None:
    """Let either of them end the process with this code, as nothing is left to be done."""
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(code))


def _raise(number: int, _frame: FrameType | None) -> None:
    global _last  # noqa: PLW0603 - a process has one last signal
    _last = signal.Signals(number)
    raise KeyboardInterrupt
