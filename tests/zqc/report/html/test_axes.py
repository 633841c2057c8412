"""Axes: values at their places, ticks at round numbers."""

import math

import pytest

from zqc.report.html.axes import Axis, span, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 43, [0, 10, 20, 30, 40]),
        (-3, 2, [-3, -2, -1, 0, 1, 2]),
        (0, 12, [0, 2.5, 5, 7.5, 10]),
        (0.0012, 0.0019, [0.0012, 0.0014, 0.0016, 0.0018]),
    ],
)
def test_ticks_are_round(low, high, expected):
    """Multiples of 1, 2, 2.5 or 5 times a power of ten, within the range."""
    assert ticks(low, high) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.005, 3, [0.01, 0.1, 1]),
        (1e-9, 1e9, [1e-9, 1e-5, 0.1, 1e3, 1e7]),
        (0.02, 0.7, [0.02, 0.05, 0.1, 0.2, 0.5]),
        (3.1, 3.2, [3.1]),
    ],
)
def test_ticks_of_a_logarithmic_axis(low, high, expected):
    """Powers of ten; 1, 2 and 5 of each where there are few; the beginning if there is nothing."""
    assert Axis(low, high, 0, 1, log=True).ticks() == pytest.approx(expected, rel=1e-12)


def test_places():
    """Equal steps are equally far, equal factors on a logarithmic axis; up may be backwards."""
    assert [Axis(0, 4, 100, 20)(v) for v in (0, 1, 4)] == [100, 80, 20]
    assert [Axis(1, 100, 0, 2, log=True)(v) for v in (1, 10, 100)] == pytest.approx([0, 1, 2])


@pytest.mark.parametrize("values", [[], [0.0], [-3.2], [7, 7], [1e-12, 2e-12], [-5, 1e6]])
@pytest.mark.parametrize("zero", [True, False])
def test_spans_hold_all_values(values, zero):
    """The ends are finite, never the same, and hold every value and zero where it belongs."""
    low, high = span(values, zero=zero)
    assert math.isfinite(low)
    assert low < high
    assert all(low <= v <= high for v in [*values, *([0] if zero else [])])


def test_spans_of_logarithms():
    """They leave room on both sides and stay positive, even of one value or of none."""
    for values in ([], [2.0], [1e-9, 10]):
        low, high = span(values, log=True)
        assert 0 < low < high
        assert all(low < v < high for v in values)
