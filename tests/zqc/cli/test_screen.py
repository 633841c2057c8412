"""What is shown: wrapped on a terminal, a line for each fact in a pipe, UTF-8 everywhere."""

import io
import logging
import os
import subprocess
import sys

import click
import pytest
from rich.text import Text

from zqc.cli import screen
from zqc.progress import Lines
from zqc.report.bar import Bar
from zqc.report.text import line


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Answer as a terminal does."""
        return True


def both_to_a_terminal(monkeypatch):
    """Put a terminal of 80 columns in the place of both outputs."""
    stream = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


LONG = "words " * 30 + "the-last-word"


def test_progress_goes_to_the_standard_error(monkeypatch, capsys):
    """A terminal gets bars and a pipe gets lines, and the standard output gets nothing."""
    with screen.progress().stage("work"):
        pass
    assert capsys.readouterr() == ("", "work\n")
    assert isinstance(screen.progress(), Lines)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(screen.progress(), Bar)


def test_results_hang_on_a_terminal(monkeypatch):
    """What goes on stands to the right of the labels, no line is wider, and no word is broken."""
    terminal = both_to_a_terminal(monkeypatch)
    screen.show(Text("\n").join([line("Label", LONG), line("Other", "short")]))
    lines = terminal.getvalue().splitlines()
    assert all(len(each) <= 80 for each in lines)
    assert [each[:17].strip() for each in lines] == ["Label", "", "", "", "Other"]
    assert " ".join(" ".join(each[17:] for each in lines[:-1]).split()) == LONG


def test_names_do_not_steer_the_terminal(capsys):
    """A layer's name that would clear the screen is shown as one that cannot; styles stay."""
    screen.show(line("Layer", "a\x1b[2Jb\x9bc", "bold"))
    assert capsys.readouterr().out.split() == ["Layer", "a\ufffd[2Jb\ufffdc"]


def test_results_are_lines_in_a_pipe(capsys):
    """A fact is one line however long it is, so that grep finds it."""
    screen.show(Text("\n").join([line("Label", LONG), line("Other", "short")]))
    assert capsys.readouterr().out.splitlines() == [f"{'Label':<17}{LONG}", f"{'Other':<17}short"]


def test_errors_hang_on_a_terminal(monkeypatch):
    """An error is wrapped at words."""
    terminal = both_to_a_terminal(monkeypatch)
    screen.complain(LONG)
    lines = terminal.getvalue().splitlines()
    assert all(len(each) <= 80 for each in lines)
    assert lines[0].startswith("Error: words")
    assert all(each.startswith(" " * 7 + "w") for each in lines[1:])


def test_errors_are_a_line_in_a_pipe(capsys):
    """An error is one line, of which grep finds all."""
    screen.complain(LONG)
    assert capsys.readouterr().err == f"Error: {LONG}\n"


def test_errors_of_the_command_line_come_with_the_usage(capsys):
    """What is wrong with an option is said below how the command is used."""
    command = click.Command("do", params=[click.Option(["--size"], type=int)])
    with pytest.raises(click.UsageError) as caught:
        command.make_context("do", ["--size", "large"])
    screen.complain(caught.value)
    err = capsys.readouterr().err.splitlines()
    assert err[0] == "Usage: do [OPTIONS]"
    assert err[-1].startswith("Error: Invalid value for '--size'")


def test_the_log_follows_the_standard_error(monkeypatch):
    """Records go where the standard error is now: a moving bar has put its own stream there."""
    screen.log(0)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logging.getLogger("zqc.somewhere").warning("watch %s", "out")
    logging.getLogger("zqc.somewhere").info("news")
    assert stream.getvalue() == "WARNING: watch out\n"


def test_utf8_whatever_the_locale(detector_file, tmp_path):
    """Results, helps and errors are written though Python was told to write ASCII.

    Of other encodings see ``test_any_encoding``.
    """
    code = "from zqc.cli.main import main; main()"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}

    def zqc(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=environment,
            capture_output=True,
            check=False,
        )

    inspected = zqc("inspect", detector_file)
    assert inspected.returncode == 0, inspected.stderr
    assert "images: float32 N×3×16×16" in inspected.stdout.decode("utf-8")
    assert "MODEL.int8.onnx, …" in zqc("compile", "--help").stdout.decode("utf-8")
    assert "fehlt→.onnx does not exist" in zqc("inspect", "fehlt→.onnx").stderr.decode("utf-8")
