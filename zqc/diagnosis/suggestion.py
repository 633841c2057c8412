"""Which layers to spare: those that gain most for their bytes, until more gain nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_STEPS = 24
"""More make no difference that a user would see, and each is an evaluation."""

_ENOUGH = 10 ** (0.5 / 10)
"""The fewest layers do that leave half a dB to the best there is."""


@dataclass(frozen=True)
class Price:
    """What sparing a layer gains and costs.

    Attributes:
        name: The layer.
        gain: Noise over signal of the outputs that it alone makes, less what it makes when spared.
        bytes: How much larger the file is.
    """

    name: str
    gain: float
    bytes: float


def in_order(prices: Sequence[Price], budget: float) -> list[Price]:
    """The layers that gain anything, the best for its bytes first, as far as the budget goes.

    A layer that is too large for what is left of the budget is passed over.
    """
    best = sorted(prices, key=lambda price: (-price.gain / max(price.bytes, 1.0), price.name))
    taken: list[Price] = []
    spent = 0.0
    for price in best:
        if price.gain > 0 and spent + price.bytes <= budget:
            taken.append(price)
            spent += price.bytes
    return taken


def steps(count: int) -> list[int]:
    """How many layers to try: 1, 2, 3, … and, if there are many, with growing gaps up to all."""
    if count <= _MOST_STEPS:
        return list(range(1, count + 1))
    ratio = count ** (1 / (_MOST_STEPS - 1))
    found: list[int] = []
    for index in range(_MOST_STEPS):
        following = found[-1] + 1 if found else 1
        found.append(max(following, min(round(ratio**index), count)))
    return sorted({min(each, count) for each in found} | {count})


def enough(before: float, errors: Sequence[float]) -> int | None:
    """Return the index of the first step that is as good as any; None if none is worth it.

    Args:
        before: Noise over signal with no layer spared.
        errors: Likewise after each step.
    """
    if not errors or min(errors) * _ENOUGH > before:
        return None
    limit = min(errors) * _ENOUGH
    return next(index for index, error in enumerate(errors) if error <= limit)
