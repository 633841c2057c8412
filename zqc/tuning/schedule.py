"""How long and how fast is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zqc.synthesis.rates import cosine
from zqc.tuning.step import BETA1, BETA2, SCALARS

if TYPE_CHECKING:
    from zqc.recipe.recipe import Effort, Recipe

_WARM_UP = 10
"""Steps in which the rates rise to what they are."""

_BIASES_ALONE = 4
"""One step in so many, those at the start, moves biases alone: all that they can make up for is
learned before the first weight is rounded another way, which is not always for the better."""

_LEAST = 1e-12
"""What keeps Adam's quotient finite; gradients are of any size."""

_EFFORTS: Mapping[Effort, tuple[int, int, float]] = {
    "quick": (100, 300, 1.1e7),
    "standard": (300, 1200, 4.4e7),
    "thorough": (1200, 4800, 1.8e8),
}
"""The fewest and the most pictures that are looked at, and the pixels of all of them."""

_FEWER = 3
"""Biases alone see a part of the most pictures: more gain nothing (docs/results/learning.md)."""

_RATE = 0.2
"""Of the weights, times the root of the steps: how far a weight strays that is drawn nowhere."""


_MEMORY = 100
"""Steps over which parameters are averaged."""


def average_step(step: int) -> float:
    """How far a moving average goes towards the parameters in a step; the first step is 0.

    The fewer there are so far, the fewer the average is over.
    """
    return max(1 / _MEMORY, 9 / (10 + step))


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        pictures: Pictures that are looked at, each as often as it takes.
        weight_rate: First step size of the weights, in their steps, for one picture at a time.
            For a model that takes N at once it is √N times as large.
        bias_rate: The same of the biases, in standard deviations of what the layer puts out.
    """

    pictures: int = 1200
    weight_rate: float = 0.006
    bias_rate: float = 0.002

    @classmethod
    def of(cls, recipe: Recipe, pixels: int) -> Schedule:
        """As a recipe asks for or else by its effort, for pictures of so many pixels."""
        least, most, budget = _EFFORTS[recipe.effort]
        if not recipe.learns_weights:
            most //= _FEWER
        pictures = recipe.pictures_seen or min(max(least, round(budget / pixels)), most)
        return cls(pictures, recipe.rate or _RATE / math.sqrt(pictures))

    def steps(self, size: int) -> int:
        """How many steps there are with so many pictures in each."""
        return max(1, self.pictures // size)

    def scalars(self, step: int, size: int) -> dict[str, float]:
        """What a step needs from the host, by the names of ``SCALARS``; the first step is 0.

        Weights follow when biases have had a quarter of the steps: our choice, see
        docs/results/learning.md.
        """
        scale = math.sqrt(size) / (1 - BETA1 ** (step + 1))
        steps = self.steps(size)
        alone = steps // _BIASES_ALONE
        weights = _rise(step - alone, steps - alone) if step >= alone else 0.0
        values = (
            self.weight_rate * weights * scale,
            self.bias_rate * _rise(step, steps) * scale,
            1 / (1 - BETA2 ** (step + 1)),
            _LEAST,
        )
        return dict(zip(SCALARS, values, strict=True))


def _rise(step: int, steps: int) -> float:
    """The share of its highest value that a rate has in one of so many steps."""
    return cosine(min(1.0, (step + 1) / _WARM_UP), steps, step)
