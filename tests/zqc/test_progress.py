"""Progress: a bar on a terminal, a few plain lines in a pipe, nothing on the standard output."""

import io

from zqc.progress import Bar, Lines, Silent, terminal_or_lines


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Answer as a terminal does."""
        return True


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        """Return the time."""
        return self.now


def test_chosen_by_stream(capsys):
    """A terminal gets the bar, a pipe gets lines, and by default that is the standard error."""
    assert isinstance(terminal_or_lines(Terminal()), Bar)
    assert isinstance(terminal_or_lines(io.StringIO()), Lines)
    with terminal_or_lines().task("work", 1) as task:
        task.advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("work: 1/1")


def written(steps, *, seconds, total=None):
    """The lines of a task of which each step takes so many seconds."""
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, clock).task("work", total or steps) as task:
        for step in range(steps):
            clock.now += seconds
            task.advance(f"loss {step}")
    return stream.getvalue().splitlines()


def test_lines_of_long_work():
    """Long work gets a line at each tenth, with the note and the time that is left."""
    lines = written(1000, seconds=1)
    assert len(lines) == 10
    assert lines[0] == "work: 100/1000, loss 99, 900 s left"
    assert lines[-1] == "work: 1000/1000, loss 999, 1000.0 s"


def test_lines_of_short_work():
    """Work of twelve seconds gets a line every five seconds and the last one."""
    assert len(written(120, seconds=0.1)) == 3


def test_lines_of_few_steps():
    """Steps larger than a tenth get a line each, but the last one once."""
    assert len(written(3, seconds=60)) == 3


def test_lines_are_plain():
    """Nothing that only a terminal understands is written."""
    assert "\x1b" not in "".join(written(10, seconds=10))


def test_bar():
    """The bar shows the name, the count, the note as it stands, and the time that is left."""
    stream = Terminal()
    with Bar(stream).task("work", 2) as task:
        task.advance("[loss] 0.5")
        task.advance("[loss] 0.4")
    last = stream.getvalue()
    for part in ("work", "2/2", "[loss] 0.4", "ETA"):
        assert part in last


def test_bar_ends_with_an_error():
    """An error in the work comes through and leaves the cursor visible."""
    stream = Terminal()
    try:
        with Bar(stream).task("work", 2):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert stream.getvalue().rstrip().endswith("\x1b[?25h")


def test_silent(capsys):
    """The default of the Python interface writes nothing."""
    with Silent().task("work", 2) as task:
        task.advance("note")
    assert capsys.readouterr() == ("", "")
