"""Histograms over a range that doubles, so that their bins nest and merge without loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from passes.arithmetic import MIN_EXPONENT, exponent_of

BINS = 8192
"""Bins over [−2^k, 2^k]: at 8 bits, one step of the grid that does not clip spans 32 of them."""


@dataclass(frozen=True)
class Histogram:
    """Counts of the values of one tensor.

    A value on the edge of two bins is counted in the one nearer to zero, so that ±2^k are inside
    the range and a value stays in its bin when the range grows; zero is counted as positive.

    Attributes:
        exponent: k of the range [−2^k, 2^k]; no value seen was outside it.
        counts: Shape (BINS,), int64.
    """

    exponent: int
    counts: NDArray[np.int64]

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


def add(histogram: Histogram, values: NDArray[np.float32]) -> Histogram:
    """Count more values; the range grows as far as needed.

    Raises:
        FloatingPointError: A value is infinite or not a number.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if not np.isfinite(largest):
        raise FloatingPointError("a value is infinite or not a number")
    exponent = max(histogram.exponent, int(exponent_of(largest)))
    grown = widen(histogram, exponent)
    scaled = values.ravel() * np.float32(1 / grown.width)
    bins = np.floor(scaled)
    bins -= (bins == scaled) & (scaled > 0)
    indices = bins.astype(np.int32) + BINS // 2
    return Histogram(exponent, grown.counts + np.bincount(indices, minlength=BINS))


def widen(histogram: Histogram, exponent: int) -> Histogram:
    """Return the same counts over a range 2^exponent, which must not be smaller. Exact."""
    counts = histogram.counts
    for _ in range(min(exponent - histogram.exponent, BINS.bit_length())):
        pairs = counts.reshape(-1, 2).sum(axis=1)
        counts = np.zeros(BINS, np.int64)
        counts[BINS // 4 : -BINS // 4] = pairs
    return Histogram(exponent, counts)
