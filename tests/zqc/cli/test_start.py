"""Whoever ends zqc before it has begun gets an answer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.zqc.cli.ended import BOTH, ended

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@BOTH
def test_a_command_that_is_still_read(number, code, tmp_path):
    """From the first module of zqc on, a signal is answered: by a line, or as JSON if asked."""
    (tmp_path / "click.py").write_text("import time; print('ready', flush=True); time.sleep(60)")
    start = "from zqc.cli.start import main; main()"
    here = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[3]}"}
    said = "interrupted, nothing was written"
    assert ended(number, start, **here) == (code, [], [f"Error: {said}"])
    name = "Interrupted" if code == 130 else "Terminated"
    error = f'{{"error": {{"type": "{name}", "message": "{said}"}}}}'
    assert ended(number, start, "--json", **here) == (code, [error], [])
    ready = "import os, time; os.write(9, b'ready\\n'); time.sleep(60)"
    (tmp_path / "click.py").write_text(ready)
    closed = f"import os; os.dup2(1, 9); os.close(1); {start}"
    assert ended(number, closed, "--json", **here) == (code, [], [f"Error: {said}"])


def test_little_is_read_before():
    """Until a signal is answered nothing is read but the module for signals: each takes time."""
    script = (
        "import atexit, os, signal, sys; before = set(sys.modules); import zqc.cli.start;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["zqc", "zqc.cli", "zqc.cli.signals", "zqc.cli.start"]
