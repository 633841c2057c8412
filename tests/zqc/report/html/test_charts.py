"""Charts: XML with a title and a description, every value at its place, whatever it is."""

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from zqc.report.html import charts
from zqc.report.html.page import Distribution, Interval

INF, NAN = math.inf, math.nan
HOSTILE = "</title><script>\"&'"


def parsed(markup):
    """The drawing; it says what it shows to those who cannot see it."""
    root = ET.fromstring(str(markup))
    assert root[0].tag == "title"
    assert root[1].tag == "desc"
    assert root.get("role") == "img"
    for element in root.iter():
        words = {word for value in element.attrib.values() for word in re.split("[^a-z]+", value)}
        assert not words & {"nan", "inf"}
    return root


def points(root):
    """Places of the dots."""
    return [(float(dot.get("cx")), float(dot.get("cy"))) for dot in root.iter("circle")]


def drawn(values, **options):
    """A line through values."""
    return parsed(charts.line(values, title="t", x_label="x", y_label="y", **options))


def test_a_line_is_where_it_belongs():
    """A straight line is straight, from left to right and upwards."""
    found = points(drawn([0.0, 1.0, 2.0, 3.0]))
    steps = {(round(b[0] - a[0]), round(b[1] - a[1])) for a, b in pairwise(found)}
    [(right, down)] = steps
    assert right > 0 > down


def test_a_logarithmic_line():
    """Values that fall by a factor from step to step are a straight line."""
    found = points(drawn([1.0, 0.1, 0.01, 0.001], log=True))
    falls = [b[1] - a[1] for a, b in pairwise(found)]
    assert falls == pytest.approx([falls[0]] * 3, abs=0.2)
    assert falls[0] > 0


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("values", [[], [NAN], [1.0], [INF, 1.0, -INF], [0.0, 0.0], [1e-30, 1e30]])
def test_any_values_are_drawn(values, log):
    """Nothing, one value, none that is a number: still a drawing."""
    drawn(values, log=log)


def test_gaps_in_a_line():
    """A value that is missing leaves a gap."""
    root = drawn([1.0, 2.0, NAN, 3.0, 4.0])
    assert len(list(root.iter("polyline"))) == 2
    assert len(points(root)) == 4


def test_what_is_good():
    """The line for good is at its value, between worse and better points, and says it."""
    root = drawn([10.0, 30.0], good=20.0)
    [line] = [each for each in root.iter("line") if each.get("class") == "good"]
    (_, worse), (_, better) = points(root)
    assert better < float(line.get("y1")) < worse
    assert "good from 20" in "".join(root.itertext())


def test_what_is_beyond_the_top():
    """Endless values and those above the top are drawn there, and told as they are."""
    root = drawn([INF, 200.0, 10.0], most=60, names=["a", "b", "c"])
    (_, first), (_, second), (_, third) = points(root)
    assert first == second < third
    said = [dot[0].text for dot in root.iter("circle")]
    assert said == ["a: ∞", "b: 200", "c: 10"]


def test_lines_and_marks():
    """Each line has its style and is told by name; what is marked is larger, however many."""
    values = [float(index) for index in range(200)]
    marks = ["here" if index == 7 else "" for index in range(200)]
    names = [f"n{index}" for index in range(200)]
    series = [("boxes", "boxes", values), ("scores", "scores", values), ("other", "x", [NAN] * 200)]
    root = parsed(
        charts.lines(series, title="t", x_label="x", y_label="y", names=names, marks=marks)
    )
    assert [each.get("class") for each in root.iter("polyline")] == ["line boxes", "line scores"]
    dots = [(dot.get("class"), dot[0].text) for dot in root.iter("circle")]
    assert dots == [
        ("dot boxes marked", "n7: boxes 7 (here)"),
        ("dot scores marked", "n7: scores 7 (here)"),
    ]


def test_bars_that_hang():
    """From the top down to their values; what is beyond the top or unknown has none."""
    series = [
        ("boxes", "boxes", [INF, 40.0, 20.0, NAN]),
        ("scores", "scores", [50.0, 70.0, -10.0, 0.0]),
        ("other", "outputs", [NAN] * 4),
    ]
    root = parsed(
        charts.hanging(series, title="t", x_label="x", y_label="y", names=list("abcd"), good=20.0)
    )
    bars = {each[0].text: each for each in root.iter("rect")}
    assert set(bars) == {
        "b: boxes 40",
        "c: boxes 20",
        "a: scores 50",
        "c: scores −10",
        "d: scores 0",
    }
    height = {said: float(bar.get("height")) for said, bar in bars.items()}
    assert height["c: boxes 20"] == pytest.approx(2 * height["b: boxes 40"], abs=0.2)
    assert height["c: scores −10"] == pytest.approx(7 * height["a: scores 50"], abs=0.4)
    [line] = [each for each in root.iter("line") if each.get("class") == "good"]
    end = float(bars["c: boxes 20"].get("y")) + height["c: boxes 20"]
    assert float(line.get("y1")) == pytest.approx(end, abs=0.2)
    assert float(bars["c: boxes 20"].get("x")) < float(bars["c: scores −10"].get("x"))


@pytest.mark.parametrize("values", [[], [NAN], [INF], [1e30, -1e30]])
def test_any_bars_are_drawn(values):
    """Nothing, none that is a number: still a drawing."""
    names = ["n"] * len(values)
    parsed(charts.hanging([("a", "a", values)], title="t", x_label="x", y_label="y", names=names))


def test_names_are_text():
    """Names of points and labels do nothing."""
    markup = charts.line([1.0], title=HOSTILE, x_label=HOSTILE, y_label=HOSTILE, names=[HOSTILE])
    assert not list(parsed(markup).iter("script"))
    found = Distribution(HOSTILE, (0.0, 1.0), (1,), 0.0, 1.0)
    assert not list(parsed(charts.histogram(found)).iter("script"))
    parts = [(HOSTILE, HOSTILE, 1.0)]
    assert not list(parsed(charts.shares(parts)).iter("script"))


def test_scatter():
    """Equal scores are on the diagonal; one that is missing is left out; the order is no matter."""
    options = {"title": "t", "x_label": "x", "y_label": "y"}
    scores = [(0.2, 0.2), (0.9, 0.9), (0.5, NAN)]
    root = parsed(charts.scatter(scores, **options))
    [equal] = [each for each in root.iter("line") if each.get("class") == "equal"]
    (x1, y1), (x2, y2) = points(root)
    slope = (float(equal.get("y2")) - float(equal.get("y1"))) / (
        float(equal.get("x2")) - float(equal.get("x1"))
    )
    assert (y2 - y1) / (x2 - x1) == pytest.approx(slope, abs=0.01)
    assert charts.scatter(scores, **options) == charts.scatter(scores[::-1], **options)


def test_histogram():
    """A bar for each bin that is not empty, and what is outside of the grid is marked."""
    found = Distribution("x", (-1.0, 0.0, 1.0, 2.0), (4, 0, 1), 0.0, 1.0)
    root = parsed(charts.histogram(found))
    bars = [each for each in root.iter("rect") if each.get("class") == "bin"]
    tall, short = (float(each.get("height")) for each in bars)
    assert tall == pytest.approx(2 * short)
    cuts = sorted(float(each.get("x1")) for each in root.iter("line") if each.get("class") == "cut")
    left, right = (float(each.get("x")) for each in bars)
    assert left + float(bars[0].get("width")) == pytest.approx(cuts[0], abs=0.1)
    assert right == pytest.approx(cuts[1], abs=0.1)
    assert [each.get("class") for each in root.iter("rect")].count("outside") == 2


@pytest.mark.parametrize(
    "found",
    [
        Distribution("x", (0.0, 0.0), (0,), 0.0, 0.0),
        Distribution("x", (0.0, 1.0), (3,), NAN, NAN),
        Distribution("x", (0.0, 1e-30), (1e12,), -INF, INF),
    ],
)
def test_any_distribution_is_drawn(found):
    """Nothing seen, no threshold known: still a drawing."""
    parsed(charts.histogram(found))


def test_interval():
    """The range is to the left of zero where the difference is surely negative."""
    root = parsed(charts.interval(Interval(-2.0, -3.0, -1.0, "points")))
    [zero] = [each for each in root.iter("line") if each.get("class") == "equal"]
    [span] = [each for each in root.iter("line") if each.get("class") == "range"]
    assert float(span.get("x1")) < points(root)[0][0] < float(span.get("x2"))
    assert float(span.get("x2")) < float(zero.get("x1"))
    parsed(charts.interval(Interval(0.0, 0.0, 0.0)))


def test_shares():
    """Parts of one bar are as wide as they are many; an empty one has no place."""
    root = parsed(
        charts.shares([("kept", "kept", 30.0), ("lost", "lost", 0.0), ("new", "n", 10.0)])
    )
    kept, new = (float(each.get("width")) for each in root.iter("rect"))
    assert (kept + 3) / (new + 3) == pytest.approx(3, rel=1e-6)
    parsed(charts.shares([("kept", "kept", 0.0)]))
