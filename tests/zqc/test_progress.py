"""Progress: plain lines in a pipe with signs of life, or nothing; a bar is in test_bar.py."""

import io
import threading

import pytest

from zqc.progress import Lines, Silent, duration, estimate


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        """Return the time."""
        return self.now


@pytest.fixture
def clock():
    """A clock that stands at 0."""
    return Clock()


@pytest.fixture
def stream():
    """What a pipe gets."""
    return io.StringIO()


@pytest.fixture
def lines(stream, clock):
    """Lines whose signs of life come when the test says ``beat``."""
    return Lines(stream, clock)


def alive():
    """Whether the thread with the signs of life is there."""
    return any(thread.name == "zqc-progress" for thread in threading.enumerate())


def written(steps, *, seconds, total=None):
    """The lines of a task of which each step takes so many seconds."""
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, clock).task("work", total or steps) as task:
        for step in range(steps):
            clock.now += seconds
            task.advance(f"loss {step}")
    return stream.getvalue().splitlines()


def test_lines_of_long_work():
    """Long work gets a line after its first step and at each tenth, with the time that is left."""
    lines = written(1000, seconds=1)
    assert len(lines) == 11
    assert lines[0] == "work: 1/1000, loss 0, 17 min left"
    assert lines[1] == "work: 101/1000, loss 100, 15 min left"
    assert lines[-1] == "work: 1000/1000, loss 999, 1000.0 s"


def test_lines_of_short_work():
    """Work of seven seconds gets one line after five of them and the last one."""
    assert len(written(70, seconds=0.1)) == 2


def test_lines_of_few_steps():
    """Steps larger than a tenth get a line each, but the last one once."""
    assert len(written(3, seconds=60)) == 3


def test_lines_are_plain():
    """Nothing that only a terminal understands is written."""
    assert "\x1b" not in "".join(written(10, seconds=10))


def test_steps_of_an_earlier_run():
    """Steps that are done when the work begins, or none, are no line and no error."""
    for done in (0, 90):
        stream = io.StringIO()
        with Lines(stream, Clock()).task("work", 100) as task:
            task.advance(steps=done)
        assert stream.getvalue() == ""


def test_a_stage_is_a_line(lines, stream):
    """What nobody knows the length of has a line at its begin, before it works."""
    with lines.stage("Loading"):
        assert stream.getvalue() == "Loading\n"
    assert stream.getvalue() == "Loading\n"


def test_signs_of_life(lines, stream, clock):
    """Where nothing was written for seven seconds, a line says what goes on and how long."""
    with lines.stage("Compiling"):
        with lines.stage("Loading"):
            for clock.now in (6, 8, 12, 16):
                lines.beat()
        with lines.task("Calibrating", 4) as task:
            for clock.now in (22, 25, 26):
                lines.beat()
            task.advance("layer 1")
            for clock.now in (32, 34):
                lines.beat()
        clock.now = 42
        lines.beat()
    assert stream.getvalue().splitlines() == [
        "Compiling",
        "Loading",
        "Loading: 8 s so far",
        "Loading: 16 s so far",
        "Calibrating: 0/4, 9 s so far",
        "Calibrating: 1/4, layer 1, 30 s left",
        "Calibrating: 1/4, layer 1, 22 s left",
        "Compiling: 42 s so far",
    ]


def test_signs_of_life_are_given(monkeypatch):
    """Nobody has to ask for them: a thread does."""
    monkeypatch.setattr("zqc.progress._BEAT_SECONDS", 0.0)
    monkeypatch.setattr("zqc.progress._TICK_SECONDS", 0.001)
    seen = threading.Event()

    class Stream(io.StringIO):
        def write(self, text):
            if "so far" in text:
                seen.set()
            return super().write(text)

    with Lines(Stream()).stage("Loading"):
        assert seen.wait(60)


@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt])
def test_the_thread_ends_with_the_work(lines, error):
    """Nothing is left behind, whether the outermost work ends well or not."""

    def work():
        with lines.stage("Compiling"):
            with lines.task("Calibrating", 2):
                assert alive()
            assert alive()
            if error:
                raise error

    if error:
        with pytest.raises(error):
            work()
    else:
        work()
    assert not alive()
    lines.beat()  # nothing goes on, so nothing is said


def test_a_reader_that_leaves(monkeypatch, capsys):
    """A stream that cannot be written to any more ends the signs of life, not the work."""
    monkeypatch.setattr("zqc.progress._BEAT_SECONDS", 0.0)
    monkeypatch.setattr("zqc.progress._TICK_SECONDS", 0.001)
    stream = io.StringIO()
    with Lines(stream).stage("Loading"):
        (thread,) = [t for t in threading.enumerate() if t.name == "zqc-progress"]
        stream.close()
        thread.join(60)
        assert not thread.is_alive()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (40, "40 s"),
        (99.4, "99 s"),
        (180, "3 min"),
        (5400, "90 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds, said):
    """Times are said as people say them."""
    assert duration(seconds) == said


def test_estimates(lines, stream):
    """Long work is told about in advance, short work is not."""
    estimate(lines, 9, "16 pictures")
    estimate(lines, 170, "32 pictures, 100 steps each")
    assert stream.getvalue() == "About 3 min to go: 32 pictures, 100 steps each\n"


def test_silent(capsys):
    """The default of the Python interface writes nothing."""
    with Silent().stage("stage"), Silent().task("work", 2) as task:
        task.advance("note")
        Silent().say("something")
    assert capsys.readouterr() == ("", "")
