"""Progress on a terminal."""

import io
import re

import pytest

from zqc.report.bar import Bar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Answer as a terminal does."""
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def frames(terminal):
    """Everything that was drawn, without colours, line by line."""
    return re.sub(r"\x1b\[[\d?]*[A-Za-z]", "", terminal.getvalue()).replace("\r", "\n").split("\n")


def test_bar(terminal):
    """The bar shows the name, the count, the note as it stands, and the time that is left."""
    with Bar(terminal).task("work", 2) as task:
        task.advance("[loss] 0.5")
        task.advance("[loss] 0.4")
    for part in ("work", "2/2", "[loss] 0.4", "ETA"):
        assert part in frames(terminal)[-2]


def test_stages_go_and_bars_stay(terminal):
    """At the end there are the bars of what is done and what was said, but no spinner."""
    bar = Bar(terminal)
    with bar.stage("Compiling a model"):
        with bar.stage("Loading [it]"):
            pass
        bar.say("About 3 min to go")
        with bar.task("Synthesising", 1) as task:
            task.advance("loss 0.123")
    drawn = frames(terminal)
    assert any("Compiling a model" in line for line in drawn)
    assert any(line.rstrip() == "About 3 min to go" for line in drawn)
    last = "".join(drawn[-3:])
    assert "Synthesising" in last
    assert "Loading" not in last


def test_the_usual_fits(terminal):
    """A bar with a loss and large counts is no wider than 80 columns."""
    with Bar(terminal).task("Synthesising", 1000) as task:
        task.advance("loss 0.123", steps=1000)
    (line,) = [line for line in frames(terminal) if "1000/1000" in line][-1:]
    assert "ETA" in line
    assert len(line.rstrip()) <= 80


def test_bar_ends_with_an_error(terminal):
    """An error in the work comes through and leaves the cursor visible."""
    bar = Bar(terminal)
    with pytest.raises(KeyboardInterrupt), bar.stage("outer"), bar.task("work", 2):
        raise KeyboardInterrupt
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h")
    with bar.stage("again"):
        pass
