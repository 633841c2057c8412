"""Whatever the standard streams are, no traceback, the right exit code, and the truth is said."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zqc.cli import streams

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")

MAIN = """
import sys, zqc.cli.main as main
from zqc.cli.outcome import print_result
from zqc.files.atomic import write_text
from pathlib import Path
from rich.text import Text
import click, dataclasses

@dataclasses.dataclass
class Result:
    text: str

@main.cli.command()
@click.option("--json", "as_json", is_flag=True)
@click.option("--fail", is_flag=True)
def work(as_json, fail):
    print("working", file=sys.stderr)
    write_text(Path("größe.txt"), "whole")
    if fail:
        raise main.ZqcError("no model")
    print_result(Result("größe → 1\\n" * 3), lambda result: Text(result.text), as_json=as_json)
    return 3

main.main()
"""
"""A command that writes a file, prints a result and finds that a limit does not hold."""


FULL = "No space left on device"


def run(folder, redirection, *options, **environment):
    """Run the command in a shell."""
    line = f"set -o pipefail; '{sys.executable}' \"$@\" {redirection}"
    done = subprocess.run(
        ["bash", "-c", line, "bash", "-c", MAIN, "work", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])} | environment,
        capture_output=True,
        check=False,
    )
    assert (folder / "größe.txt").read_text() == "whole"
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"xception" not in done.stdout + done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("redirection", "code", "out", "err"),
    [
        (">&-", 3, "", "working\n"),
        ("2>&-", 3, "größe → 1\n" * 3 + "\n", ""),
        (">&- 2>&- <&-", 3, "", ""),
        ("2>/dev/full", 3, "größe → 1\n" * 3 + "\n", ""),
        (">/dev/full 2>&1", 1, "", ""),
        ("| true", 3, "", "working\n{written}"),
        ("2>&1 | true", 3, "", ""),
        (
            ">/dev/full",
            1,
            "",
            "working\nError: the result cannot be printed: No space left on device; {written}",
        ),
    ],
)
def test_a_result_that_cannot_be_shown(tmp_path, redirection, code, out, err):
    """The work is done all the same, and what was written is said where something can be."""
    found = run(tmp_path, redirection)
    said = err.format(written="größe.txt was written\n")
    if redirection == "| true" and found[1:] != (out, said):  # the reader left in time, or not
        said = "working\n"
    assert found == (code, out, said)


@pytest.mark.parametrize(
    ("redirection", "options", "code", "said"),
    [
        (">/dev/full", ["--json"], 1, f"the result cannot be printed: {FULL}; {{written}}"),
        (
            ">/dev/full",
            ["--json", "--fail"],
            1,
            f"no model; {{written}}; nor can that be printed as JSON: {FULL}",
        ),
        (">&-", ["--json"], 3, ""),
        (">&-", ["--json", "--fail"], 1, "no model; {written}"),
        (">/dev/null", ["--json", "--fail"], 1, ""),
    ],
)
def test_json_that_cannot_be_shown(tmp_path, redirection, options, code, said):
    """Where there is no place for an object, the error is a line, and says why it is one."""
    expected = said and f"Error: {said.format(written='größe.txt was written')}\n"
    assert run(tmp_path, redirection, *options) == (code, "", f"working\n{expected}")


def test_a_help_that_cannot_be_shown():
    """What is no result of any work is missed, too."""
    line = f"'{sys.executable}' -m zqc --help > /dev/full"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: the result cannot be printed: No space left on device\n"


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
def test_any_encoding(tmp_path, encoding):
    """All text is UTF-8, whatever Python was told, and also where it does not buffer."""
    for unbuffered in ("", "1"):
        told = {"PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": unbuffered}
        assert run(tmp_path, "", **told)[:2] == (3, "größe → 1\n" * 3 + "\n")


def test_streams_that_are_none_of_the_systems(monkeypatch):
    """A stream that somebody put in place stays, and never fails."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)
    streams.set_up()
    sys.stdout.write("to the one\n")
    sys.stderr.write("to nowhere\n")
    assert stream.getvalue() == "to the one\n"
    assert streams.failure(sys.stdout) is streams.failure(sys.stderr) is None
