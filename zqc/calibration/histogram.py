"""Histograms over a range that doubles, so that their bins nest and merge without loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from passes.arithmetic import MIN_EXPONENT, exponent_of

BINS = 8192
"""Bins over [−2^k, 2^k]: at 8 bits, one step of the grid that does not clip spans 32 of them."""


_CHUNK = 1 << 16
"""Values that are counted at once: what is computed of them stays in the cache."""


@dataclass(frozen=True)
class Histogram:
    """Counts of the values of one tensor.

    A value on the edge of two bins is counted in the one nearer to zero, so that ±2^k are inside
    the range and a value stays in its bin when the range grows; zero is counted as positive.

    Attributes:
        exponent: k of the range [−2^k, 2^k]; no value seen was outside it.
        counts: Shape (BINS,), int64; sums of weights, float64, where values are weighted.
    """

    exponent: int
    counts: NDArray[np.int64] | NDArray[np.float64]

    @property
    def width(self) -> float:
        """Width of a bin."""
        return float(2.0 ** (self.exponent + 1) / BINS)

    @property
    def centres(self) -> NDArray[np.float64]:
        """Centres of the bins, shape (BINS,)."""
        positions: NDArray[np.float64] = np.arange(BINS, dtype=np.float64) - BINS / 2 + 0.5
        return positions * self.width


def empty() -> Histogram:
    """Return a histogram that has seen nothing."""
    return Histogram(MIN_EXPONENT, np.zeros(BINS, np.int64))


def add(
    histogram: Histogram,
    values: NDArray[np.float32],
    weights: NDArray[np.float64] | None = None,
) -> Histogram:
    """Count more values; the range grows as far as needed.

    Args:
        histogram: What was counted before, with weights if there are any now.
        values: Any shape.
        weights: What each value counts, in the same shape; 1 by default.

    Raises:
        FloatingPointError: A value is infinite or not a number.
    """
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise FloatingPointError("a value is infinite or not a number")
    exponent = max(histogram.exponent, int(exponent_of(max(-low, high))))
    grown = widen(histogram, exponent)
    flat = values.ravel()
    masses = None if weights is None else weights.ravel()
    counts = grown.counts.copy()
    for start in range(0, flat.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        indices = _indices(flat[part], grown.width, negative=low < 0)
        counts += np.bincount(indices, None if masses is None else masses[part], minlength=BINS)
    return Histogram(exponent, counts)


def _indices(values: NDArray[np.float32], width: float, *, negative: bool) -> NDArray[np.int32]:
    """Numbers of the bins that values are in.

    A factor one bit below a power of two gives the float just nearer to zero than the scaled value,
    so that cutting off the fraction leaves a value on an edge in the bin on the side of zero.
    """
    factor = np.nextafter(np.float32(1 / width), np.float32(0))
    indices: NDArray[np.int32] = (values * factor).astype(np.int32)
    indices += BINS // 2
    if negative:
        indices -= values < 0
    return indices


def widen(histogram: Histogram, exponent: int) -> Histogram:
    """Return the same counts over a range 2^exponent, which must not be smaller. Exact."""
    counts = histogram.counts
    doublings = min(exponent - histogram.exponent, BINS.bit_length())
    for _ in range(doublings if counts.any() else 0):
        pairs = counts[::2] + counts[1::2]
        counts = np.zeros_like(counts)
        counts[BINS // 4 : -BINS // 4] = pairs
    return Histogram(exponent, counts)


def merged(histograms: Sequence[Histogram]) -> Histogram:
    """Return the counts of several histograms together. Exact."""
    exponent = max(histogram.exponent for histogram in histograms)
    return Histogram(exponent, np.sum([widen(one, exponent).counts for one in histograms], axis=0))


def without_outliers(histogram: Histogram, *, z: float = math.inf) -> Histogram:
    """Forget the values that are more than z standard deviations from the mean.

    The bins count with their centres: c_i = 0 where |b_i − μ| > z·σ (HPTQ, arXiv 2109.09113, in its
    reference implementation). Useful are 5 to 20; by default nothing is forgotten.
    """
    if not np.any(histogram.counts):
        return histogram
    mean = np.average(histogram.centres, weights=histogram.counts)
    distances = np.abs(histogram.centres - mean)
    deviation = np.sqrt(np.average(distances**2, weights=histogram.counts))
    kept = distances <= z * deviation if deviation > 0 else distances == 0
    return replace(histogram, counts=np.where(kept, histogram.counts, 0))
