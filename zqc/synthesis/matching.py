"""What the pooled moments of a set of pictures are compared with, as vectors over all channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from zqc.recipe.recipe import Terms
from zqc.statistics.batchnorm import LayerStatistics

Vector = NDArray[np.float64]

_FLOOR = 1e-6
"""Of a variance, in units: rounding may leave it below 0, and the root needs a finite slope."""


@dataclass(frozen=True)
class Targets:
    """The statistics of all layers in a row, K channels together.

    Attributes:
        mean: Stored means, (K,).
        deviation: Stored standard deviations, (K,).
        unit: What deviations from them are measured in, (K,).
        mean_weight: Weight of a squared deviation of the mean, (K,).
        deviation_weight: The same of the standard deviation.
        sizes: Channels of each layer.
    """

    mean: Vector
    deviation: Vector
    unit: Vector
    mean_weight: Vector
    deviation_weight: Vector
    sizes: tuple[int, ...]

    @classmethod
    def of(
        cls, layers: Sequence[LayerStatistics], terms: Terms = "both", ratio: float = 1.0
    ) -> Targets:
        """Every layer weighs the same, and so does every channel of a layer.

        Args:
            layers: Statistics of each layer.
            terms: Which of them count.
            ratio: Weight of the standard deviations against the means.
        """
        sizes = tuple(len(layer.mean) for layer in layers)
        share = np.concatenate([np.full(size, 1 / size) for size in sizes]) / len(sizes)
        return cls(
            mean=np.concatenate([layer.mean for layer in layers]),
            deviation=np.concatenate([layer.deviation for layer in layers]),
            unit=np.concatenate([layer.unit for layer in layers]),
            mean_weight=share * (terms != "std"),
            deviation_weight=share * (terms != "mean") * ratio,
            sizes=sizes,
        )

    @property
    def places(self) -> tuple[slice, ...]:
        """Where the channels of each layer stand among all."""
        ends = accumulate(self.sizes, initial=0)
        return tuple(slice(start, end) for start, end in pairwise(ends))

    @property
    def variance_floor(self) -> Vector:
        """The least variance that counts, (K,)."""
        floor: Vector = _FLOOR * self.unit**2
        return floor

    def residuals(self, means: Vector, seconds: Vector) -> tuple[Vector, Vector]:
        """How far means and standard deviations are off, in units.

        Args:
            means: Pooled E[x], (K,).
            seconds: Pooled E[x²], (K,).
        """
        deviation = np.sqrt(np.maximum(seconds - means**2, self.variance_floor))
        return (means - self.mean) / self.unit, (deviation - self.deviation) / self.unit

    def loss(self, means: Vector, seconds: Vector) -> float:
        """The loss of the whole set, as ``step_model`` defines it, without what is added to it."""
        off_mean, off_deviation = self.residuals(means, seconds)
        return float(self.mean_weight @ off_mean**2 + self.deviation_weight @ off_deviation**2)
