"""Step sizes, and what else the optimiser needs from the host at each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Optimizer = Literal["adam", "radam"]
Decay = Literal["cosine", "plateau"]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8

_FACTOR, _THRESHOLD, _LEAST = 0.5, 1e-4, 1e-4 / 16
"""Of the reduction on plateaus, as DGH's code has them: it begins at 16 and ends at 1e-4."""


def cosine(rate: float, steps: int, iteration: int) -> float:
    """From ``rate`` before the first step to 0 after the last one."""
    return rate * 0.5 * (1 + math.cos(math.pi * iteration / steps))


def reduced_on_plateaus(rate: float, steps: int, losses: Sequence[float]) -> float:
    """Half of the rate whenever the loss has not fallen for a fiftieth of the steps.

    After a reduction the best loss so far is forgotten, so that the next one is measured afresh
    (DGH, arXiv 2410.22110, its code).

    Args:
        rate: The first rate.
        steps: Number of steps.
        losses: The loss after each step that is done.
    """
    patience, least = steps // 50, rate * _LEAST
    best, bad = math.inf, 0
    for loss in losses:
        if loss < best * (1 - _THRESHOLD):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            rate, best, bad = max(rate * _FACTOR, least), math.inf, 0
    return rate


def scalars(
    optimizer: Optimizer, rate: float, iteration: int, slope_scale: float
) -> dict[str, NDArray[np.float32]]:
    """The inputs of ``autodiff.adam_step``.

    RAdam (Liu et al. 2020, arXiv 1908.03265, algorithm 2) steps along the slope itself as long as
    the second moment rests on too few steps; it must be that of the loss then.

    Args:
        optimizer: Adam or RAdam.
        rate: The rate of this step.
        iteration: Steps that are done.
        slope_scale: What the slopes are larger by than those of the loss.
    """
    time = iteration + 1
    step, correction, floor = rate / (1 - _BETA1**time), 1 / (1 - _BETA2**time), _EPSILON
    if optimizer == "radam":
        longest = 2 / (1 - _BETA2) - 1
        length = longest - 2 * time * _BETA2**time / (1 - _BETA2**time)
        if length > 5:
            step *= math.sqrt(
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            )
        else:
            correction, floor = 0.0, slope_scale
    numbers = {"step_size": step, "second_correction": correction, "floor": floor}
    return {name: np.array(number, np.float32) for name, number in numbers.items()}
