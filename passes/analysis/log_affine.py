"""Weights of few bits on levels that stand closer near zero.

Trained weights are peaked: most are small, a few are large. The levels of a log-affine quantizer
(LLAQ of Reg-PTQ, CVPR 2024) are uniform in the logarithm of an affine function of the weight. For b
bits, with n = 2^(b-1) levels below zero, n - 1 above, and a threshold 2^k:

    level ±j = ± 2^k · τ · (r^j - 1) / (r^n - 1),    r = 2^(1/s)

1. The slope s is a power of two, or endless, for uniform levels. Large weights have large steps.
2. The share τ = 2^(-i/4) of the threshold is the intercept: uniform levels may end between two
   powers of two as well.
3. Every level is rounded to an integer of 7 bits, with the step 2^(k-6). An integer kernel
   multiplies it like any other weight of 8 bits, and none saturates, not even those that add pairs
   of products in 16 bits; an eighth bit would gain 0.03 dB. In the file it is a code of b bits.

Reg-PTQ has the affine function outside of the logarithm, which leaves a hole at zero, learns slope
and intercept for either side, and stores codes for shifts. The sets here are our choice: what was
measured of them is in docs/methods.md.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx_ir as ir

from passes.arithmetic import MIN_EXPONENT, exponent_of, integer_range, scales
from passes.graph import constant, int_attribute

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WIDTHS = (3, 4)
"""Bits that levels are chosen for: with two, none are better than uniform ones."""

_ROOM = 0.03
"""Share of a channel's bytes that the one may be that says what levels it has."""

LEVEL_BITS = 7
"""Bits of a level."""

_RATIOS = (1.0, 2 ** (1 / 8), 2 ** (1 / 4), 2 ** (1 / 2))
_SHARES = tuple(2 ** (-i / 4) for i in range(4))

_EXPONENTS = 4
"""Thresholds that are tried: twice the smallest that holds the largest weight, and smaller ones."""

_BINS_A_STEP = 4
_REACH = 1 << (LEVEL_BITS - 1 + _EXPONENTS - 2)
"""How far weights are from zero at most, in steps of the smallest threshold."""

_CHANNELS_AT_ONCE = 256

Floats: TypeAlias = "NDArray[np.floating]"


@cache
def level_sets(bits: int) -> NDArray[np.int8]:
    """All sets of levels of so many bits, each rising, shape (sets, 2^bits)."""
    below = 1 << (bits - 1)
    steps = np.arange(below + 1, dtype=np.float64)
    found = []
    for ratio in _RATIOS:
        part = steps / below if ratio == 1 else (ratio**steps - 1) / (ratio**below - 1)
        for share in _SHARES:
            levels = np.rint(part * share * (1 << (LEVEL_BITS - 1)))
            found.append(np.concatenate([-levels[:0:-1], levels[:-1]]))
    sets = np.array(found).astype(np.int8)
    sets.flags.writeable = False
    return sets


def nearest(steps: Floats, levels: Floats) -> Floats:
    """The levels that are nearest.

    Args:
        steps: Weights in steps, any shape.
        levels: Rising levels, (…, levels), broadcastable to ``steps`` but for their own axis.

    Returns:
        In the shape of ``steps``, float64.
    """
    between, rise = (levels[..., 1:] + levels[..., :-1]) / 2, np.diff(levels)
    result = np.broadcast_to(levels[..., 0], steps.shape).astype(np.float64)
    for i in range(rise.shape[-1]):
        result += rise[..., i] * (steps > between[..., i])
    return result


def finder(levels: Floats) -> Callable[[Floats], Floats]:
    """``nearest`` for levels that are asked for often: looked up by the half of a step.

    No middle between two levels lies inside of one, so that the answer is the same.

    Args:
        levels: Rising levels, (…, levels), broadcastable as in ``nearest``.
    """
    halves = 1 << (LEVEL_BITS + 1)
    middles = (np.arange(halves) + 0.5 - halves // 2) / 2
    shape = levels.shape[:-1]
    table = nearest(np.broadcast_to(middles, (*shape, halves)), levels[..., np.newaxis, :])
    flat = table.reshape(-1)
    first = np.arange(table.size // halves).reshape(shape) * halves + halves // 2 - 1

    def find(steps: Floats) -> Floats:
        half = np.minimum(np.maximum(np.ceil(2 * steps), 1 - halves // 2), halves // 2)
        return np.asarray(flat[half.astype(np.intp) + first])

    return find


def best_levels(
    rows: Floats, bits: int, least: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The thresholds and sets of levels with the least squared error of each channel.

    Args:
        rows: Weights of each channel, (channels, weights).
        bits: Bits of the codes.
        least: The smallest exponent that the threshold of each channel may have, (channels,).
        count: How many are wanted.

    Returns:
        Exponents and indices of ``level_sets``, each of shape (count, channels), the best first.
    """
    every = np.arange(1, 1 - _EXPONENTS, -1)
    exponents = exponent_of(np.abs(rows).max(axis=1, initial=0.0)) + every[:, np.newaxis]
    exponents = np.maximum(exponents, np.maximum(least, MIN_EXPONENT))
    errors = np.stack([_errors(rows, each, bits) for each in exponents], axis=1)
    by_channel = errors.reshape(len(rows), -1)
    order = np.argsort(by_channel, axis=1, kind="stable")[:, :count].T
    place, chosen = np.divmod(order, errors.shape[-1])
    return np.take_along_axis(exponents, place, axis=0), chosen


@cache
def nearest_levels(bits: int) -> NDArray[np.int8]:
    """The nearest level of every set to every integer of a level's bits, (sets, 2^7)."""
    low, high = integer_range(bits=LEVEL_BITS, signed=True)
    steps = np.arange(low, high + 1, dtype=np.float64)
    found = [nearest(steps, levels) for levels in level_sets(bits).astype(np.float64)]
    return np.stack(found).astype(np.int8)


def least_weights(bits: int) -> int:
    """Weights that a channel must have to have levels.

    One more byte, which says what levels it has, is at most 3 % of their bytes then. So many
    integers are on levels by no accident, either.
    """
    return math.ceil(8 / bits / _ROOM)


def code_bits(integers: NDArray[np.integer], axis: int) -> int | None:
    """Bits of the codes that weights can be; None where they are on a grid, or on no levels.

    Args:
        integers: Weights in steps, of 8 bits.
        axis: Of their channels.
    """
    rows = np.moveaxis(integers, axis, 0).reshape(integers.shape[axis], -1)
    for bits in WIDTHS:
        low, high = integer_range(bits=bits, signed=True)
        if rows.shape[1] < least_weights(bits) or low <= rows.min() <= rows.max() <= high:
            continue
        if sets_of(rows, bits) is not None:
            return bits
    return None


def code_bits_behind(node: ir.Node) -> int | None:
    """The same of the constant that a DequantizeLinear reads; None where it is no INT8 weight."""
    value, integers = node.inputs[0], constant(node.inputs[0])
    if value is None or value.dtype != ir.DataType.INT8 or integers is None or integers.ndim < 2:
        return None
    return code_bits(integers, int_attribute(node, "axis", 1) % integers.ndim)


def sets_of(rows: NDArray[np.integer], bits: int) -> NDArray[np.int64] | None:
    """The first of ``level_sets`` that holds all weights of each channel; None where none does.

    Args:
        rows: Weights in steps, of 8 bits, (channels, weights).
        bits: Bits of the codes.
    """
    held = np.bitwise_and.reduce(_holders(bits)[rows.astype(np.int16) + 128], axis=1)
    if not held.all():
        return None
    lowest = held & (~held + np.uint32(1))
    return np.asarray(np.log2(lowest), np.int64)


@cache
def _holders(bits: int) -> NDArray[np.uint32]:
    """Bit by bit which sets have an integer among their levels, for those from -128 to 127."""
    sets = level_sets(bits)
    holders = np.zeros(256, np.uint32)
    for i, levels in enumerate(sets):
        holders[levels.astype(np.int16) + 128] |= np.uint32(1 << i)
    return holders


def _errors(rows: Floats, exponents: NDArray[np.int64], bits: int) -> Floats:
    """Σ (w − level)² of every channel with every set, (channels, sets), to a quarter of a step."""
    scale = scales(exponents, bits=LEVEL_BITS, signed=True).astype(np.float64)[:, np.newaxis]
    bins = 2 * _REACH * _BINS_A_STEP
    squares = _squares(bits)
    errors = np.empty((len(rows), squares.shape[1]))
    for start in range(0, len(rows), _CHANNELS_AT_ONCE):
        some = slice(start, start + _CHANNELS_AT_ONCE)
        place = np.floor((rows[some] / scale[some] + _REACH) * _BINS_A_STEP)
        place = np.clip(place, 0, bins - 1).astype(np.int64)
        place += bins * np.arange(len(place))[:, np.newaxis]
        counts = np.bincount(place.reshape(-1), minlength=len(place) * bins)
        errors[some] = counts.reshape(-1, bins) @ squares
    return errors * scale**2


@cache
def _squares(bits: int) -> Floats:
    """Squared distance of the middle of every bin to the nearest level of every set, in steps."""
    middles = (np.arange(2 * _REACH * _BINS_A_STEP) + 0.5) / _BINS_A_STEP - _REACH
    sets = level_sets(bits).astype(np.float64)
    return np.stack([np.square(middles - nearest(middles, each)) for each in sets], axis=1)
