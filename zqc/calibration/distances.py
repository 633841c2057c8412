"""How far a quantized tensor is from the tensor itself, by its histogram alone.

The error functions of HPTQ's threshold search (arXiv 2109.09113): mean powers of the error, and the
Kullback–Leibler divergence of the values' distributions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from passes.arithmetic import Grid
from zqc.calibration.histogram import Histogram

Floats = NDArray[np.floating]
Function = Callable[[Floats], Floats]

_MOVED = 1e-6
"""Mass that smoothing moves into empty bins: a logarithm of 0 would outweigh everything."""


def identity(x: Floats) -> Floats:
    """Return x: the values themselves count."""
    return x


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + e^−x): what counts of a logit is its score."""
    return 0.5 * (1 + np.tanh(x / 2))


def softplus(x: Floats) -> Floats:
    """Return log(1 + e^x): what counts of a logit among others is e^x where that is small."""
    return np.logaddexp(0, x)


def mean_error(
    histogram: Histogram, grid: Grid, *, power: int = 2, seen_through: Function = identity
) -> float:
    """Mean of |f(Q(x)) − f(x)|^p with every value at the centre of its bin.

    Where a step of the grid is no wider than a bin, the centre says nothing about the rounding: the
    values inside are then moved by what gives the mean of evenly spread errors, see `even_spread`.
    """
    used = histogram.counts > 0
    centres, counts = histogram.centres[used], histogram.counts[used]
    rounded = grid.nearest(centres)
    if grid.scale <= histogram.width:
        low, high = grid.bounds
        inside = (centres >= low) & (centres <= high)
        rounded = np.where(inside, centres + even_spread(grid.scale, power), rounded)
    errors = np.abs(seen_through(rounded) - seen_through(centres)) ** power
    return float(np.average(errors, weights=counts))


def shifted_errors(
    histogram: Histogram,
    exponent: int,
    *,
    bits: int,
    power: int = 2,
    seen_through: Function = identity,
) -> NDArray[np.float64]:
    """`mean_error` of an unsigned grid at every shift 0…2^(bits−1), all at once.

    The shift moves the ends of the grid, but no value between them. So the rounding errors are
    summed up once, over all bins from the left; and so are the powers of f(x), from which the
    errors of clipped values follow by the binomial theorem, as f increases:
    Σ c (f(end) − f(x))^p = Σ_j (p over j) · f(end)^(p−j) · Σ c (−f(x))^j.

    Returns:
        One error per shift, shape (2^(bits−1) + 1,).
    """
    step = Grid(exponent, bits, signed=False).scale
    shifts = np.arange((1 << (bits - 1)) + 1)
    lows, highs = -shifts * step, ((1 << bits) - 1 - shifts) * step
    used = histogram.counts > 0
    centres, counts = histogram.centres[used], histogram.counts[used]
    seen = seen_through(centres)
    fine = step <= histogram.width
    rounded = centres + even_spread(step, power) if fine else np.rint(centres / step) * step
    below = np.searchsorted(centres, lows, side="left")
    upto = np.searchsorted(centres, highs, side="right")
    rounding = _running(counts * np.abs(seen_through(rounded) - seen) ** power)
    sums: NDArray[np.float64] = rounding[upto] - rounding[below]
    for j in range(power + 1):
        moments = _running(counts * seen**j)
        left = seen_through(lows) ** (power - j) * moments[below]
        right = seen_through(highs) ** (power - j) * (moments[-1] - moments[upto])
        sums += math.comb(power, j) * ((-1) ** j * left + (-1) ** (power - j) * right)
    errors: NDArray[np.float64] = sums / counts.sum()
    return errors


def divergence(histogram: Histogram, grid: Grid) -> float:
    """Kullback–Leibler divergence of what the grid makes of a distribution from the distribution.

    Only bins that the grid rounds without clipping count. In the distribution itself the clipped
    values stand in the outermost of them; in the quantized one they are missing, and every level's
    mass is spread evenly over those of its bins that are not empty. In both a millionth of the mass
    is moved from the filled bins into the empty ones.

    A one-to-one function of the values has the same divergence, so that none is taken into account.

    Returns:
        The divergence in nats; infinite when the grid holds no value.
    """
    counts = histogram.counts.astype(np.float64)
    levels = np.rint(histogram.centres / grid.scale)
    low, high = (end - grid.shift for end in grid.integers)
    first = int(np.searchsorted(levels, low, side="left"))
    end = int(np.searchsorted(levels, high, side="right"))
    kept = counts[first:end]
    if not kept.any():
        return math.inf
    whole = kept.copy()
    whole[0] += counts[:first].sum()
    whole[-1] += counts[end:].sum()
    filled = whole > 0
    _, level = np.unique(levels[first:end], return_inverse=True)
    shares = np.bincount(level, weights=kept) / np.maximum(np.bincount(level, weights=filled), 1)
    p, q = _smoothed(whole), _smoothed(np.where(filled, shares[level], 0))
    return float(np.sum(p * np.log(p / q)))


def even_spread(step: float, power: int) -> float:
    """The p-th root of the mean p-th power of errors spread evenly over ±Δ/2.

    That is Δ / (2·(p+1)^(1/p)): Δ/√12 for the square, Δ/4 for the absolute value.
    """
    return float(step / (2 * (power + 1) ** (1 / power)))


def _running(values: Floats) -> NDArray[np.float64]:
    """Sums of the first 0, 1, 2, … values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _smoothed(masses: Floats) -> NDArray[np.float64]:
    """A distribution without zeros."""
    empty = masses == 0
    share: NDArray[np.float64] = masses / masses.sum()
    count = int(empty.sum())
    return np.where(empty, _MOVED / count, share * (1 - _MOVED)) if count else share
