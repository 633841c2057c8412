"""Numbers as people read them: none reads as what it is not."""

import math

import pytest

from zqc.report.html import formats

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formats.number(1234.56, 1), "1,234.6"),
        (formats.number(-2), "−2"),
        (formats.number(NAN), "–"),
        (formats.number(INF, 1), "∞"),
        (formats.number(-INF), "−∞"),
        (formats.signed(2.04, 1), "+2.0"),
        (formats.signed(0.0, 1), "0.0"),
        (formats.signed(0.04, 1), "0.0"),
        (formats.signed(-3.25, 1), "−3.2"),
        (formats.signed(NAN), "–"),
        (formats.percent(0.1234), "12.3 %"),
        (formats.percent(0.0), "0.0 %"),
        (formats.percent(0.00001), "< 0.1 %"),
        (formats.percent(NAN), "–"),
        (formats.size(288), "0.3 kB"),
        (formats.size(3_080_000), "3.08 MB"),
        (formats.size(NAN), "–"),
        (formats.short(0.25), "0.25"),
        (formats.short(-40), "−40"),
        (formats.short(1e-9), "1e−9"),
        (formats.short(2.5e12), "2.5e12"),
        (formats.short(NAN), "–"),
        (formats.number(-0.04, 1), "0.0"),
        (formats.signed(-0.04, 1), "0.0"),
        (formats.log2(-3), "−3"),
        (formats.log2(2.04), "2.0"),
        (formats.log2(NAN), "–"),
        (formats.added(483), "+483 B"),
        (formats.added(-2400), "−2.4 kB"),
        (formats.added(NAN), "–"),
        (formats.sentence("the culprit is deep"), "The culprit is deep."),
        (formats.sentence("mAP fell"), "mAP fell."),
        (formats.sentence("conv1 is broken"), "conv1 is broken."),
        (formats.bits(4), "4"),
        (formats.bits(32), "float"),
        (formats.sort_key(NAN), ""),
        (formats.sort_key(-INF), "-Infinity"),
        (formats.sort_key(0.5), "0.5"),
    ],
)
def test_numbers(text, expected):
    """Unknown is a dash, small is not zero, minus is a minus, and scripts get what they read."""
    assert text == expected


def test_known():
    """A column is worth its place if it has a number, infinite ones included."""
    assert formats.known([NAN, INF])
    assert not formats.known([NAN, NAN])
    assert not formats.known([])
