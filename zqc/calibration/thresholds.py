"""From a histogram to the power-of-two threshold of least mean squared error."""

from __future__ import annotations

import numpy as np

from passes.arithmetic import MIN_EXPONENT, Grid, fake_quantize, integer_range
from zqc.calibration.histogram import Histogram

CANDIDATES = 10
"""2P, P, P/2, … as in HPTQ's search (arXiv 2109.09113): ten thresholds."""


def choose_grid(histogram: Histogram, *, bits: int, signed: bool) -> Grid:
    """Return the grid with the least mean squared error over the histogram.

    P is the smallest power of two that no value exceeds; P·2 is tried as well, because a signed
    grid ends one step below its threshold. A tensor that was always zero gets the smallest grid.
    """
    if not np.any(histogram.counts):
        return Grid(MIN_EXPONENT, bits, signed)
    top = _no_clipping(histogram) + 1
    exponents = [max(top - i, MIN_EXPONENT) for i in range(CANDIDATES)]
    grids = [Grid(exponent, bits, signed) for exponent in exponents]
    return min(grids, key=lambda grid: mean_squared_error(histogram, grid))


def mean_squared_error(histogram: Histogram, grid: Grid) -> float:
    """Mean of (Q(x) − x)² with every value at the centre of its bin.

    Where a step of the grid is no wider than a bin, the centre says nothing about the rounding; the
    error of values inside the grid is then that of evenly spread ones, Δ²/12.
    """
    used = histogram.counts > 0
    centres, counts = histogram.centres[used], histogram.counts[used]
    errors = (fake_quantize(centres, grid.scale, bits=grid.bits, signed=grid.signed) - centres) ** 2
    if grid.scale <= histogram.width:
        low, high = (end * grid.scale for end in integer_range(bits=grid.bits, signed=grid.signed))
        errors = np.where((centres >= low) & (centres <= high), grid.scale**2 / 12, errors)
    return float(np.average(errors, weights=counts))


def _no_clipping(histogram: Histogram) -> int:
    """Exponent of the smallest range that holds every populated bin."""
    positions = np.flatnonzero(histogram.counts) - len(histogram.counts) // 2
    outermost = max(-int(positions.min()), int(positions.max()) + 1, 1)
    halvings = (len(histogram.counts) // 2 // outermost).bit_length() - 1
    return histogram.exponent - halvings
