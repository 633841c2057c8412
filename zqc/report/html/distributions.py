"""What layers put out, as the pages of ``zqc debug`` and ``zqc sensitivity`` draw it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zqc.report.html.formats import percent
from zqc.report.html.page import Distribution

if TYPE_CHECKING:
    from zqc.diagnosis.results import ValueHistogram


def distribution(name: str, found: ValueHistogram, clipped: float) -> Distribution:
    """The values that a layer puts out.

    Args:
        name: Name of the layer.
        found: Its values.
        clipped: Share of them that the grid cuts off, 0…1.
    """
    note = "" if math.isnan(clipped) else f"{percent(clipped, 2)} of the output cut off"
    return Distribution(name, found.edges, found.counts, found.low, found.high, note)
