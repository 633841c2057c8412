"""What layers put out, as it is drawn."""

import math

from zqc.diagnosis.results import ValueHistogram
from zqc.report.html.distributions import distribution

FOUND = ValueHistogram((-1.0, 0.0, 1.0), (3, 1), -0.5, 0.75)


def test_a_histogram_with_its_thresholds():
    """Bins and thresholds are kept as they are; the share that is cut off is said."""
    drawn = distribution("deep", FOUND, 0.125)
    assert (drawn.name, drawn.edges, drawn.counts) == ("deep", FOUND.edges, FOUND.counts)
    assert (drawn.low, drawn.high) == (-0.5, 0.75)
    assert drawn.note == "12.50 % of the output cut off"
    assert distribution("deep", FOUND, math.nan).note == ""
