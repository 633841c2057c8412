"""Processes that are ended by a signal."""

import os
import signal
import subprocess
import sys

import pytest

BOTH = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
"""The signals that end a command, and what it ends with."""


def ended(number, script, *arguments, handler=signal.default_int_handler, **environment):
    """End a process by a signal as soon as it is ready; its code and the lines of its outputs."""
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),  # noqa: PLW1509 - one thread
    ) as process:
        process.stdout.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=50)
    assert "Traceback" not in err
    return process.returncode, out.split("\n")[:-1], [line for line in err.split("\n") if line]
