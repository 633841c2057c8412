"""SIGTERM does what Ctrl-C does, with an exit code of its own."""

import atexit
import os
import signal
import sys

TYPE_CHECKING = False  # see ``start``
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

NAMES = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}
"""The signals that end a command, and what the errors are called that say so in JSON."""

_last: signal.Signals | None = None


def interrupt() -> None:
    """Let either of them raise ``KeyboardInterrupt``; what was ignored from the start stays so."""
    for number in NAMES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def exit_code() -> int:
    """128 and the number of the signal that came last, as shells have it; Ctrl-C if none did."""
    return 128 + (_last or signal.SIGINT)


def name() -> str:
    """What the error of the signal that came last is called; that of Ctrl-C if none did."""
    return NAMES[_last or signal.SIGINT]


def leave(code: int) -> "NoReturn":
    """End the process with this code.

    A command may have come to an end though a signal came, as learning keeps the best so far. That
    is what Ctrl-C is for; SIGTERM has its exit code in any case.

    The interpreter is not asked to tidy up: meanwhile Ctrl-C would kill it, and after one that went
    through an ``exec``, such as those of ``dataclasses``, it kills itself.
    """
    code = code or (exit_code() if _last == signal.SIGTERM else 0)
    for number in NAMES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(code))
    if _last is None:
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _raise(number: int, _frame: "FrameType | None") -> None:
    global _last  # noqa: PLW0603 - a process has one last signal
    _last = signal.Signals(number)
    raise KeyboardInterrupt
