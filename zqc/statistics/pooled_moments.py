"""Mean, variance and range per channel over any number of pictures, in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PooledMoments:
    """What is known of a value after some pictures; all in float64.

    Attributes:
        count: Values seen per channel.
        mean: Their mean, shape (C,).
        squares: Sum of their squared distances from the mean, shape (C,).
        low: The smallest of all channels.
        high: The largest.
    """

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> PooledMoments:
        """Measure one batch, (N, C, …), with at least one value per channel."""
        axes = (0, *range(2, values.ndim))
        mean = values.mean(axis=axes, dtype=np.float64)
        centred = values - mean.reshape(-1, *(1,) * (values.ndim - 2))
        return cls(
            count=values.size // len(mean),
            mean=mean,
            squares=np.square(centred).sum(axis=axes),
            low=float(values.min()),
            high=float(values.max()),
        )

    def joined(self, other: PooledMoments) -> PooledMoments:
        """Pool two sets of values.

        Sums of squares are kept about the mean and pooled as Chan, Golub and LeVeque do (Updating
        formulae and a pairwise algorithm for computing sample variances, 1979), so that a mean far
        from 0 costs no digits.
        """
        count = self.count + other.count
        shift = other.mean - self.mean
        return PooledMoments(
            count=count,
            mean=self.mean + shift * (other.count / count),
            squares=self.squares + other.squares + shift**2 * (self.count * (other.count / count)),
            low=min(self.low, other.low),
            high=max(self.high, other.high),
        )

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation of the values seen, shape (C,)."""
        deviation: NDArray[np.float64] = np.sqrt(self.squares / self.count)
        return deviation
