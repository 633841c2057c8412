"""SIGTERM ends a command as Ctrl-C does, with an exit code of its own."""

import json
import signal
import sys

import pytest

from tests.zqc.cli.ended import BOTH, ended

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

WORK = """
import time, zqc.cli.main as main
from zqc.files.atomic import write_text
from zqc.files.places import check_file
from pathlib import Path
import click

@main.cli.command()
@click.argument("files", nargs=-1)
@click.option("--report")
@click.option("--json", is_flag=True)
def work(files, report, json):
    if report:
        check_file(Path(report))
    for name in files:
        write_text(Path(name), "")
    print("ready", flush=True)
    time.sleep(60)

main.main()
"""


@BOTH
def test_a_command_that_works(number, code, tmp_path):
    """One line says what there is: nothing, or the files that appeared before."""
    nothing = "Error: interrupted, nothing was written"
    assert ended(number, WORK, "work") == (code, [], [nothing])
    files = [tmp_path / name for name in "abc"]
    said = f"interrupted; {files[0]}, {files[1]} and {files[2]} were written"
    report = tmp_path / "r.html"
    for more in (" was not", " is still the old one"):
        command = ("work", *files, "--report", report)
        assert ended(number, WORK, *command) == (code, [], [f"Error: {said}, {report}{more}"])
        report.touch()
    found = ended(number, WORK, "work", *files, "--json")
    name = "Interrupted" if code == 130 else "Terminated"
    error = {"error": {"type": name, "message": said}}
    assert (found[0], json.loads("\n".join(found[1])), found[2]) == (code, error, [])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_command_that_ends_well_all_the_same(number, code):
    """Ctrl-C is how learning is cut short; SIGTERM shows in the exit code."""
    begin, end = WORK.split('    print("ready"')
    script = f"""{begin}    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("done")
{end.partition("time.sleep(60)")[2]}"""
    assert ended(number, script, "work") == (code, ["done"], [])


def test_in_an_exec():
    """There the interpreter would leave by the signal itself, without the code."""
    script = WORK.replace("time.sleep(60)", "exec('time.sleep(60)')")
    assert ended(signal.SIGINT, script, "work")[0] == 130


def test_in_the_background():
    """Where a shell has told a process to ignore Ctrl-C, it goes on."""
    script = WORK.replace("time.sleep(60)", "time.sleep(0.5)\n    print('done')")
    found = ended(signal.SIGINT, script, "work", handler=signal.SIG_IGN)
    assert found == (0, ["done"], [])
