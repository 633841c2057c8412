"""How ``zqc`` starts: whoever ends it while Python still reads it gets an answer, too."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_MESSAGE = "interrupted, nothing was written"


def main() -> None:
    """Read the command line's modules and run it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from zqc.cli.main import main as run

    run()


def _leave(number: int, _frame: FrameType | None) -> None:
    """End the process: an exception could come up in the middle of any module's import."""
    as_json = "--json" in sys.argv
    said = f'{{"error": {{"type": "KeyboardInterrupt", "message": "{_MESSAGE}"}}}}'
    with suppress(OSError):
        os.write(1 if as_json else 2, f"{said if as_json else f'Error: {_MESSAGE}'}\n".encode())
    os._exit(128 + number)
