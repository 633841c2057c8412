"""Axes of charts: from values to places, and ticks at round numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        low: The value at its beginning.
        high: The value at its end.
        start: Where it begins, in units of the drawing.
        end: Where it ends.
        log: Whether it is logarithmic; ``low`` and ``high`` are positive then.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About so many round numbers on it."""
        if not self.log:
            return ticks(self.low, self.high, count)
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        step = max(1, math.ceil((last - first) / count))
        powers = [10.0**k for k in range(first, last + 1, step)]
        if len(powers) > 1:
            return powers
        each = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)]
        return [value for value in each if self.low <= value <= self.high] or [self.low]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about so many multiples of 1, 2, 2.5 or 5 times a power of ten within a range."""
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in _STEPS if s * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def span(values: list[float], *, zero: bool = False, log: bool = False) -> tuple[float, float]:
    """Return the ends of an axis that holds all values: round ones, and never the same twice.

    Args:
        values: Finite numbers, positive ones if logarithmic; there may be none.
        zero: Whether 0 belongs to it.
        log: Whether the axis is logarithmic.
    """
    if log:
        low, high = min(values, default=1.0), max(values, default=10.0)
        return (low / 1.3, high * 1.3)
    low, high = min(values, default=0.0), max(values, default=1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        low, high = low - 0.5 * (not zero), high + 0.5 + 0.5 * zero
    step = ticks(low, high)
    width = step[1] - step[0] if len(step) > 1 else high - low
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    return min(low, first * width), max(high, last * width)
