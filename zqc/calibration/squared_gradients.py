"""Squared gradients of the tensors of a network, by channel and by value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zqc.calibration.histogram import BINS, Histogram, add, empty, widen
from zqc.runtime.session import Runner

Feeds = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Sensitivity:
    """What the outputs lose by errors of one tensor.

    The unit is the mean square of the outputs, each of which has deviation 1, summed over them.

    Attributes:
        squares: By value of the tensor, the sum of the squared gradients.
        counts: The number of those values.
        fisher_diagonal: Per channel (axis 1), shape (C,), of everything, shape (1,), below rank 2:
            the sum over a picture's positions of the squared gradients, the mean over pictures.
            Times the mean squared error of the channel's values it is the loss.
    """

    squares: Histogram
    counts: Histogram
    fisher_diagonal: NDArray[np.float64]

    @property
    def loss(self) -> float:
        """What is lost by errors that have the variance of the tensor itself."""
        counts, centres = self.counts.counts, self.counts.centres
        total = max(float(counts.sum()), 1.0)
        variance = counts @ centres**2 / total - (counts @ centres / total) ** 2
        return float(self.fisher_diagonal.sum() * max(variance, 0.0))


def random_signs(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """−1 and 1, drawn evenly."""
    return generator.choice(np.array([-1, 1], np.float32), shape)


def measured(
    runner: Runner,
    source: str,
    tensors: Sequence[str],
    gradients: Mapping[str, str],
    feeds: Iterable[Feeds],
) -> dict[str, Sensitivity]:
    """Add up squared gradients over runs.

    Args:
        runner: Puts out the tensors but the source, and the gradients.
        source: The input that takes the pictures.
        tensors: Those whose gradients are wanted by value, too.
        gradients: What the gradient of each tensor is called, by its name.
        feeds: Of each run.
    """
    found = {name: Sensitivity(_nothing(), empty(), np.zeros(1)) for name in gradients}
    asked, total = set(tensors), 0
    for each in feeds:
        total += len(each[source])
        outputs = {source: each[source], **runner(each)}
        for name, gradient in gradients.items():
            squares = np.square(outputs[gradient].astype(np.float64))
            old = found[name]
            diagonal = old.fisher_diagonal + _per_channel(squares)
            found[name] = replace(old, fisher_diagonal=diagonal)
            if name in asked:
                values = outputs[name].astype(np.float32, copy=False)
                counted = add(old.squares, values, squares), add(old.counts, values)
                found[name] = Sensitivity(*counted, diagonal)
    return {
        name: replace(of, fisher_diagonal=of.fisher_diagonal / max(total, 1))
        for name, of in found.items()
    }


def together(parts: Sequence[Mapping[str, Sensitivity]]) -> dict[str, Sensitivity]:
    """The mean of several measurements of the same tensors, by what each of them counts.

    The unit is that of the first. The others are scaled to lose as much as it does where the error
    of every tensor has the same share of its variance; those that lose nothing are left out.
    """
    first, losses = parts[0], [sum(of.loss for of in part.values()) for part in parts]
    factors = [losses[0] / loss if loss > 0 else 0.0 for loss in losses]
    kept = [
        (part, factor / np.count_nonzero(factors))
        for part, factor in zip(parts, factors, strict=True)
        if factor
    ]
    if len(kept) < 2:
        return dict(first)
    return {
        name: Sensitivity(
            _sum([(part[name].squares, factor) for part, factor in kept]),
            of.counts,
            np.asarray(sum(part[name].fisher_diagonal * factor for part, factor in kept)),
        )
        for name, of in first.items()
    }


def _sum(histograms: Sequence[tuple[Histogram, float]]) -> Histogram:
    """Of histograms, each multiplied with a factor."""
    exponent = max(of.exponent for of, _ in histograms)
    wide = [widen(of, exponent).counts * factor for of, factor in histograms]
    return Histogram(exponent, np.sum(wide, axis=0))


def _nothing() -> Histogram:
    return replace(empty(), counts=np.zeros(BINS))


def _per_channel(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over everything but the channels."""
    axes = (0, *range(2, squares.ndim)) if squares.ndim > 1 else None
    return np.atleast_1d(squares.sum(axis=axes))
