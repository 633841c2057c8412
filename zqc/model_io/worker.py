"""What runs in the child process that ``child`` starts: a model comes in, the ready one goes out.

Or, where it only runs there, nothing does.

The model is read from the standard input. The standard output gets ``READY``, a line of JSON with
the log and the error, and the ready model; between them a line that starts with ``STEP`` for each
step that begins. Everything that is printed goes to the standard error.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import traceback

import onnx

from zqc.errors import ModelError, ZqcError
from zqc.model_io import preparation, trial
from zqc.model_io.child import READY, STEP
from zqc.runtime.child_process import end_with_parent


class _Kept(logging.Handler):
    """Keeps records for the parent: logger, level and message of each."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.name, record.levelno, record.getMessage()))


_NO_MEMORY = "the model needs more memory than this machine has; give a smaller --input-shape"


def _limit_memory() -> None:
    """Let this process fail where it would take the machine with it."""
    try:
        import resource

        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = whole * 3 // 4
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    except (ImportError, ValueError, OSError):  # of another system
        return


def main() -> None:
    """Answer one request."""
    end_with_parent()
    options = json.loads(sys.argv[1])
    # Ctrl-C reaches every process of a terminal. The parent decides, and kills this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    # The parent kills in time; should it be gone, nothing else would end an endless loop.
    faulthandler.dump_traceback_later(options["seconds"] + 5, exit=True)
    # onnxsim imports these where they are installed, for seconds, and needs neither here.
    for name in ("torch", "sympy"):
        sys.modules[name] = None  # type: ignore[assignment]
    # From here on C++, too, prints to the standard error.
    reply = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    kept = _Kept()
    for name in ("zqc", "passes"):
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).addHandler(kept)

    def say(line: bytes) -> None:
        reply.write(line)
        reply.flush()

    say(READY)
    _limit_memory()
    error, content = None, b""
    shape = options.get("input_shape")
    try:
        given = sys.stdin.buffer.read()
        if options.get("only_run"):
            say(STEP + b"the first run of the model\n")
            trial.run_alone(given)
        else:
            content = preparation.prepared(
                onnx.ModelProto.FromString(given),
                input_shape=tuple(shape) if shape else None,
                simplify=options["simplify"],
                inputs=options["inputs"],
                begin=lambda step: say(STEP + step.encode() + b"\n"),
            ).SerializeToString()
    except (ZqcError, MemoryError) as caught:
        traceback.print_exc()
        found = caught if isinstance(caught, ZqcError) else ModelError(_NO_MEMORY)
        error = type(found).__name__, str(found)
    reply.write(json.dumps({"log": kept.records, "error": error}).encode() + b"\n" + content)
    reply.flush()
    # What C++ does when a process ends can go wrong, too, and nothing needs it.
    os._exit(0)


if __name__ == "__main__":
    main()
