"""How ``zqc`` starts: whoever ends it while Python still reads it gets an answer, too."""

# Nothing but this may be read before the handlers stand: until then Ctrl-C ends in a traceback.
import os
import signal
import sys

from zqc.cli.signals import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_MESSAGE = "interrupted, nothing was written"


def main() -> None:
    """Read the command line's modules and run it."""
    for number in NAMES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from zqc.cli.main import main as run

    run()


def _leave(number: int, _frame: "FrameType | None") -> None:
    """End the process: an exception could come up in the middle of any module's import."""
    plain = f"Error: {_MESSAGE}"
    said = f'{{"error": {{"type": "{NAMES[signal.Signals(number)]}", "message": "{_MESSAGE}"}}}}'
    for descriptor, line in ((1, said), (2, plain))["--json" not in sys.argv :]:
        try:
            os.write(descriptor, f"{line}\n".encode())
            break
        except OSError:  # it is closed or full; who asked for JSON gets a line then
            continue
    os._exit(128 + number)
