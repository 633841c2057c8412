"""From a histogram to the grid of least error: power-of-two threshold, sign and shift."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from passes.arithmetic import MIN_EXPONENT, Grid, exponent_of
from zqc.calibration.distances import (
    Function,
    divergence,
    identity,
    mean_error,
    shifted_errors,
)
from zqc.calibration.histogram import BINS, Histogram
from zqc.recipe.recipe import Shift

CANDIDATES = 10
"""2P, P, P/2, … as in HPTQ's search (arXiv 2109.09113): ten thresholds."""

RULE_RATIO = 0.25
"""How far below zero a tensor may reach, in thresholds, to be shifted by HPTQ's rule."""

Method = Literal["none", "mse", "mae", "lp", "kl"]


def choose_grid(
    histogram: Histogram,
    *,
    bits: int,
    signed: bool,
    seen_through: Function = identity,
    keeps_up_to: float = 0.0,
    method: Method = "mse",
    p: int = 2,
    shift: Shift = "none",
    even: bool = False,
) -> Grid:
    """Return the grid with the least error over the histogram.

    P is the smallest power of two that no value exceeds; P·2 is tried as well, because a signed
    grid ends one step below its threshold. A tensor that was always zero gets the smallest grid.

    Methods (HPTQ, arXiv 2109.09113, and its reference implementation):

    - ``none``: P, no search.
    - ``mse``, ``mae``, ``lp``: least mean square, absolute value, p-th power of the error.
    - ``kl``: least Kullback–Leibler divergence.

    Shifts, of a tensor that may be negative:

    - ``none``: a signed grid.
    - ``rule``: HPTQ's shift-negative correction. A tensor that reaches at most t/4 below zero gets
      the unsigned grid of its signed threshold t, shifted by the least number of steps with which
      it holds the smallest value: half the step, and a shorter end.
    - ``search``: of the signed grids and the unsigned ones at every shift up to half of their
      integers (every even one, but at 4 bits), the one of least error; for ``none`` of least
      squared error at P.

    Args:
        histogram: The values that were seen.
        bits: Bits of the grid.
        signed: Whether the values reach below zero.
        seen_through: The error is that of f(x), f increasing. The logits of class scores and of box
            bins reach far below zero, where the score is 0 in any case: on a grid that holds all of
            them a step would be half of a logit. Our choice: ``sigmoid`` for logits of a Sigmoid,
            ``softplus`` for those of a Softmax. ``none`` and ``kl`` do not look at it.
        keeps_up_to: How many times the largest value seen must not be clipped. Among the logits of
            a Softmax the largest ones decide, and they are rarer in pictures than their weight.
        method: What the error is.
        p: The power of ``lp``, an integer from 1.
        shift: Whether the grid may be shifted.
        even: Whether only even shifts will do at 4 bits, too.
    """
    if not np.any(histogram.counts):
        return Grid(MIN_EXPONENT, bits, signed)
    top = _no_clipping(histogram) + 1
    lowest = _exponent_of_largest(histogram, keeps_up_to) if keeps_up_to else MIN_EXPONENT
    tried = [top - 1] if method == "none" else [top - i for i in range(CANDIDATES)]
    exponents = [max(exponent, lowest) for exponent in tried]
    power = {"mae": 1, "lp": p}.get(method, 2)
    stride = 2 if even else stride_of(bits)

    def error(grid: Grid) -> float:
        if method == "kl":
            return divergence(histogram, grid)
        return mean_error(histogram, grid, power=power, seen_through=seen_through)

    def errors_of_shifts(exponent: int) -> NDArray[np.float64]:
        if method == "kl":
            grids = shifted_grids(exponent, bits, stride)
            return np.array([divergence(histogram, grid) for grid in grids])
        every = shifted_errors(
            histogram, exponent, bits=bits, power=power, seen_through=seen_through
        )
        return every[::stride]

    grid = min((Grid(exponent, bits, signed) for exponent in exponents), key=error)
    if not signed or shift == "none":
        return grid
    end = 2.0**lowest if keeps_up_to else -np.inf
    if shift == "rule":
        shifted = _shifted_by_rule(histogram, grid, stride)
        return grid if shifted is None or end_of(shifted) < end else shifted
    best = [grid]
    for exponent in exponents:
        errors = errors_of_shifts(exponent)
        allowed = shifted_grids(exponent, bits, stride, end=end)
        if allowed:
            best.append(allowed[int(np.argmin(errors[: len(allowed)]))])
    return min(best, key=error)


def shifted_grids(exponent: int, bits: int, stride: int, *, end: float = -math.inf) -> list[Grid]:
    """Return the unsigned grids of one threshold, by their shift: 0, stride, … 2^(bits−1).

    Args:
        exponent: k of the threshold 2^k.
        bits: Their bits.
        stride: Step between shifts.
        end: What they reach up to at least: those of larger shifts do not.
    """
    shifts = range(0, (1 << (bits - 1)) + 1, stride)
    grids = [Grid(exponent, bits, signed=False, shift=shift) for shift in shifts]
    return [grid for grid in grids if end_of(grid) >= end]


def stride_of(bits: int) -> int:
    """Return the step between shifts: 1 at 4 bits, else 2.

    Integer kernels add zero points before they round, QuantizeLinear after, which is the same for
    even ones (see ``passes.arithmetic``). Only of 4 bits an odd one becomes even when it is stored
    in 8 bits (``passes.lower.stored_activations``).
    """
    return 1 if bits == 4 else 2


def _shifted_by_rule(histogram: Histogram, grid: Grid, stride: int) -> Grid | None:
    """HPTQ's shift of the unsigned grid with the threshold of a signed one, where it allows it."""
    smallest = (int(np.flatnonzero(histogram.counts).min()) - BINS // 2) * histogram.width
    if not 0 < -smallest <= RULE_RATIO * grid.threshold:
        return None
    unsigned = Grid(grid.exponent, grid.bits, signed=False)
    return replace(unsigned, shift=math.ceil(-smallest / unsigned.scale / stride) * stride)


def end_of(grid: Grid) -> float:
    """Return the threshold above: one step past the largest value."""
    return (grid.integers[1] - grid.shift + 1) * grid.scale


def _no_clipping(histogram: Histogram) -> int:
    """Exponent of the smallest range that holds every populated bin."""
    positions = np.flatnonzero(histogram.counts) - BINS // 2
    return _exponent(histogram, max(-int(positions.min()), int(positions.max()) + 1))


def _exponent_of_largest(histogram: Histogram, times: float) -> int:
    """Exponent of the smallest power of two that no value, so many times as large, exceeds.

    Small negative ones aside.
    """
    last = int(np.flatnonzero(histogram.counts).max()) - BINS // 2
    return max(_exponent(histogram, math.ceil((last + 1) * times)), MIN_EXPONENT)


def _exponent(histogram: Histogram, outermost: int) -> int:
    """Exponent of the smallest range with so many bins on each side."""
    halvings = (BINS // 2 // max(outermost, 1)).bit_length() - 1
    return histogram.exponent - halvings


def grid_up_to(bound: float, *, bits: int, signed: bool = False) -> Grid:
    """Return the grid of the smallest threshold that reaches the bound.

    A signed one ends one step below its threshold.
    """
    return Grid(int(exponent_of(bound)), bits, signed=signed)
