"""How sure a difference of average precision is: paired bootstrap over the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zqc.detection.matches import Matches


@dataclass(frozen=True)
class Interval:
    """A difference of average precision, quantized minus float, and where it may well lie.

    Attributes:
        difference: In these pictures.
        low: Lower end of the interval.
        high: Upper end.
        confidence: Of resampled differences, this share lies between the ends.
        samples: How many samples of the pictures were drawn.
    """

    difference: float
    low: float
    high: float
    confidence: float
    samples: int


def difference_interval(
    reference: Matches,
    quantized: Matches,
    *,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of AP(quantized) - AP(float) by the paired bootstrap.

    As many pictures as there are, are drawn with replacement, the same for both models; AP is
    computed by COCO's rules for each sample (Efron & Tibshirani 1993, chapter 13). What is known of
    the pictures is all that it knows: with few pictures the interval is too narrow.

    Args:
        reference: Matches of the float model.
        quantized: Matches of the quantized model in the same pictures against the same labels.
        samples: How many samples to draw.
        confidence: The share of samples inside of the interval.
        seed: Of the drawing.
    """
    count = reference.pictures
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=samples)
    ones = np.ones((1, count), np.int64)

    def difference(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        first, second = (
            matches.average_precision(drawn).mean(axis=1) for matches in (reference, quantized)
        )
        shift: NDArray[np.float64] = second - first
        return shift[~np.isnan(shift)]  # a sample may have no label at all

    tail = (1 - confidence) / 2
    low, high = np.quantile(difference(weights), [tail, 1 - tail])
    return Interval(float(difference(ones)[0]), float(low), float(high), confidence, samples)
