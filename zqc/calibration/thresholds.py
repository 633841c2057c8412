"""From a histogram to the power-of-two threshold of least mean squared error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from passes.arithmetic import MIN_EXPONENT, Grid, fake_quantize, integer_range
from zqc.calibration.histogram import Histogram

CANDIDATES = 10
"""2P, P, P/2, … as in HPTQ's search (arXiv 2109.09113): ten thresholds."""


Floats = NDArray[np.floating]
Function = Callable[[Floats], Floats]


def identity(x: Floats) -> Floats:
    """Return x: the values themselves count."""
    return x


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + e^−x): what counts of a logit is its score."""
    return 0.5 * (1 + np.tanh(x / 2))


def softplus(x: Floats) -> Floats:
    """Return log(1 + e^x): what counts of a logit among others is e^x where that is small."""
    return np.logaddexp(0, x)


def choose_grid(
    histogram: Histogram,
    *,
    bits: int,
    signed: bool,
    seen_through: Function = identity,
    keeps_top: bool = False,
) -> Grid:
    """Return the grid with the least mean squared error over the histogram.

    P is the smallest power of two that no value exceeds; P·2 is tried as well, because a signed
    grid ends one step below its threshold. A tensor that was always zero gets the smallest grid.

    Args:
        histogram: The values that were seen.
        bits: Bits of the grid.
        signed: Whether it reaches below zero.
        seen_through: The error is that of f(x). The logits of class scores and of box bins reach
            far below zero, where the score is 0 in any case: on a grid that holds all of them a
            step would be half of a logit. Our choice: ``sigmoid`` for logits of a Sigmoid,
            ``softplus`` for those of a Softmax.
        keeps_top: Whether the largest value seen must not be clipped. Among the logits of a Softmax
            the largest ones decide, and they are rarer in pictures than their weight.
    """
    if not np.any(histogram.counts):
        return Grid(MIN_EXPONENT, bits, signed)
    top = _no_clipping(histogram) + 1
    lowest = _exponent_of_largest(histogram) if keeps_top else MIN_EXPONENT
    exponents = [max(top - i, lowest) for i in range(CANDIDATES)]
    grids = [Grid(exponent, bits, signed) for exponent in exponents]
    return min(grids, key=lambda grid: mean_squared_error(histogram, grid, seen_through))


def mean_squared_error(
    histogram: Histogram, grid: Grid, seen_through: Function = identity
) -> float:
    """Mean of (f(Q(x)) − f(x))² with every value at the centre of its bin.

    Where a step of the grid is no wider than a bin, the centre says nothing about the rounding: the
    values inside are then moved by the root mean square error of evenly spread ones, Δ/√12.
    """
    used = histogram.counts > 0
    centres, counts = histogram.centres[used], histogram.counts[used]
    rounded: Floats = fake_quantize(centres, grid.scale, bits=grid.bits, signed=grid.signed)
    if grid.scale <= histogram.width:
        low, high = (end * grid.scale for end in integer_range(bits=grid.bits, signed=grid.signed))
        inside = (centres >= low) & (centres <= high)
        rounded = np.where(inside, centres + grid.scale / np.sqrt(12), rounded)
    errors = (seen_through(rounded) - seen_through(centres)) ** 2
    return float(np.average(errors, weights=counts))


def _no_clipping(histogram: Histogram) -> int:
    """Exponent of the smallest range that holds every populated bin."""
    positions = np.flatnonzero(histogram.counts) - len(histogram.counts) // 2
    return _exponent(histogram, max(-int(positions.min()), int(positions.max()) + 1))


def _exponent_of_largest(histogram: Histogram) -> int:
    """Exponent of the smallest power of two that no value exceeds, small negative ones aside."""
    last = int(np.flatnonzero(histogram.counts).max()) - len(histogram.counts) // 2
    return max(_exponent(histogram, last + 1), MIN_EXPONENT)


def _exponent(histogram: Histogram, outermost: int) -> int:
    """Exponent of the smallest range with so many bins on each side."""
    halvings = (len(histogram.counts) // 2 // max(outermost, 1)).bit_length() - 1
    return histogram.exponent - halvings
