"""Whoever ends zqc before it has begun gets an answer."""

import os
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
    error = f'{{"error": {{"type": "KeyboardInterrupt", "message": "{said}"}}}}'
    assert ended(number, start, "--json", **here) == (code, [error], [])
