"""Foreign C++ in a process of its own: what it prints and what it dies of stays there.

On a damaged model the C++ of onnx, onnxsim and ONNX Runtime may print, loop for hours, take all
memory or die by a signal. So one child process makes each model ready and runs it for the first
time, see ``preparation``; ``worker`` is what runs in it, with a limit of time and memory. Nothing
but bytes passes between the two, through pipes: no file is left behind, whoever dies first, and any
number of threads can load at once.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import EncodeError

from zqc import errors
from zqc.errors import ModelError
from zqc.model_io import preparation

logger = logging.getLogger(__name__)

READY = b"ready\n"
"""What the child writes first: from then on, what happens to it is the model's doing."""

STEP = b"step "
"""How the line begins that says which step begins."""

# A detector of 35 MB takes 5 s. The limit ends what would never end, on busy machines, too.
_SECONDS = 60.0
_SECONDS_PER_MB = 1.0


class _NotStartedError(Exception):
    """There is no child process to be had here."""


class _DiedError(Exception):
    """The child died of the model; the message says how."""

    def __init__(self, step: str, how: str) -> None:
        super().__init__(how)
        self.step = step


def prepared(
    proto: onnx.ModelProto,
    *,
    input_shape: tuple[int, int] | None,
    inputs: Mapping[str, Sequence[float]] | None = None,
) -> onnx.ModelProto:
    """Make a model ready in a child process, see ``preparation.prepared``.

    Where onnxsim dies, the model is used unsimplified; where no child process can be started,
    onnxsim does not run at all. The log says so.

    Raises:
        ModelError: The model is none that zqc can work on, or another step dies of it.
    """
    options = {"input_shape": input_shape, "inputs": dict(inputs or {})}
    content = _serialized(proto)
    try:
        try:
            return _in_child(content, options | {"simplify": True})
        except _DiedError as error:
            if error.step != preparation.SIMPLIFY:
                raise
            fault = error
        model = _in_child(content, options | {"simplify": False})
    except _DiedError as error:
        raise ModelError(
            f"the model cannot be read: {error.step} {error}; it is damaged or not valid ONNX, "
            "export it again"
        ) from error
    except _NotStartedError as error:
        logger.warning("onnxsim cannot run here, the model is used unsimplified: %s", error)
        return preparation.prepared(proto, input_shape=input_shape, inputs=inputs, simplify=False)
    logger.warning("onnxsim failed, the model is used unsimplified: it %s", fault)
    return model


def try_out(proto: onnx.ModelProto) -> None:
    """Run a model for the first time in a child process, if one can be started.

    Raises:
        ModelError: It kills ONNX Runtime, or does not end.
    """
    try:
        _in_child(_serialized(proto), {"only_run": True})
    except _DiedError as error:
        raise ModelError(f"{error.step} {error}; it is damaged, export it again") from error
    except _NotStartedError as error:
        logger.debug("the model runs here for the first time: %s", error)


def _serialized(proto: onnx.ModelProto) -> bytes:
    try:
        content: bytes = proto.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ModelError("the model is larger than 2 GB, which ONNX cannot hold") from error
    return content


def _in_child(content: bytes, options: Mapping[str, Any]) -> onnx.ModelProto:
    """Start a child, hand it a model and return what it makes of it.

    Raises:
        ModelError: As the child raised it.
        _NotStartedError: It does not get as far as looking at the model.
        _DiedError: It dies, or takes too long.
    """
    # A frozen program would start itself again; where Python is embedded, there may be none.
    if not sys.executable or getattr(sys, "frozen", False):
        raise _NotStartedError("this program has no Python of its own to start")
    limit = _SECONDS + _SECONDS_PER_MB * len(content) / 1e6
    options = {**options, "seconds": limit}
    # -P: modules come from where they came from here, never from the current folder as well.
    command = [sys.executable, "-P", "-m", "zqc.model_io.worker", json.dumps(options)]
    try:
        done = subprocess.run(
            command,
            input=content,
            capture_output=True,
            env=os.environ | {"PYTHONPATH": _import_path()},
            timeout=limit,
            check=False,
        )
        reply, printed, fault = done.stdout, done.stderr, _fault(done.returncode)
    except subprocess.TimeoutExpired as error:
        reply, printed = error.stdout or b"", error.stderr or b""
        fault = f"took longer than {limit:.0f} s"
    except OSError as error:
        raise _NotStartedError(f"{sys.executable}: {error.strerror or error}") from error
    if text := printed.decode(errors="replace").strip():
        logger.debug("the child process printed: %s", text)
    if not reply.startswith(READY):
        raise _NotStartedError(f"the child process {fault or 'gave no answer'}")
    steps, reply = _steps(reply.removeprefix(READY))
    if fault:
        raise _DiedError(steps[-1] if steps else "onnx", fault)
    return _result(reply)


def _steps(reply: bytes) -> tuple[list[str], bytes]:
    """The steps that have begun, and what stands behind them."""
    steps = []
    while reply.startswith(STEP):
        line, _, reply = reply.partition(b"\n")
        steps.append(line.removeprefix(STEP).decode())
    return steps, reply


def _result(reply: bytes) -> onnx.ModelProto:
    """Take a complete reply apart: a line with the log and the error, and then the model."""
    line, _, content = reply.partition(b"\n")
    header = json.loads(line)
    for name, level, message in header["log"]:
        logging.getLogger(name).log(level, "%s", message)
    if header["error"]:
        kind, message = header["error"]
        raise getattr(errors, kind)(message)
    model = onnx.ModelProto()
    model.ParseFromString(content)
    return model


def _fault(code: int) -> str:
    """How a process ended that returned ``code``; empty where it ended well."""
    if code >= 0:
        return f"ended with exit code {code}" if code else ""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    # Where memory runs out, this is how Linux says it.
    return f"died by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")


def _import_path() -> str:
    """Where modules come from here, so that the child imports the same ones."""
    path = [str(Path(entry).absolute()) for entry in sys.path if entry]
    root = str(Path(__file__).absolute().parents[2])
    return os.pathsep.join(path if root in path else [root, *path])
