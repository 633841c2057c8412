"""The tool that measures silences."""

import sys

import pytest
from click.testing import CliRunner

pytest.importorskip("pty", reason="terminals of POSIX")
silence = pytest.importorskip("tools.bench.silence")


@pytest.mark.parametrize("options", [[], ["--terminal"]])
def test_what_is_measured(options):
    """The first byte, the longest silence and the whole time, of a pipe or of a terminal."""
    script = "import sys; print('terminal' if sys.stdout.isatty() else 'pipe')"
    command = [*options, "--show", "--", sys.executable, "-c", script]
    result = CliRunner().invoke(silence.main, command)
    assert result.exit_code == 0
    said, first, longest, whole = result.output.splitlines()
    assert said.split()[1] == ("terminal" if options else "pipe")
    assert first.startswith("first byte ")
    assert "never" not in first
    assert longest.startswith("longest silence ")
    assert whole.startswith("whole time ")


def test_a_command_that_says_nothing():
    """Nothing is said to be nothing."""
    result = CliRunner().invoke(silence.main, ["--", sys.executable, "-c", ""])
    assert "never" in result.output
