"""The arithmetic of uniform, symmetric, power-of-two quantizers, written once.

For a threshold t = 2^k, b bits and s = 1 for a signed grid, 0 for an unsigned one
(HPTQ, arXiv 2109.09113, section 3):

    step      Δ = t / 2^(b − s)
    integers  q ∈ [−s·2^(b−1), 2^(b−s) − 1]
    value     x̂ = Δ · clip(round(x / Δ), q_min, q_max)

An unsigned grid may be shifted by z steps, for tensors that reach a little below zero: the integers
stay q = clip(round(x / Δ) + z, 0, 2^b − 1), the value is Δ · (q − z). This is the shift-negative
correction of HPTQ with the shift v = z·Δ, and on a runtime with zero points z is the zero point.
With an even z, ties go the same way whether z is added before or after rounding: QuantizeLinear
adds it after, ONNX Runtime's integer kernels (QLinearMul, QLinearAdd, …) before.

Rounding is half to even. The division by a power of two is exact in float32, so the functions here
are bit-exact with ONNX QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_EXPONENT = -16
"""Smallest exponent of a threshold: 2^−16 as in the reference implementation of HPTQ."""

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Grid:
    """A uniform quantization grid with a power-of-two threshold.

    Attributes:
        exponent: k of the threshold 2^k.
        bits: Number of bits.
        signed: Whether the grid reaches below zero as far as above.
        shift: How many steps an unsigned grid reaches below zero: its zero point.

    Raises:
        ValueError: A shift of a signed grid, or one that is none of the grid's integers.
    """

    exponent: int
    bits: int
    signed: bool
    shift: int = 0

    def __post_init__(self) -> None:
        """Refuse a shift that no unsigned integer can hold."""
        if self.shift and self.signed:
            raise ValueError(f"a signed grid has no shift, got {self.shift}")
        if not 0 <= self.shift < 1 << self.bits:
            raise ValueError(f"the shift {self.shift} is outside 0…{(1 << self.bits) - 1}")

    @property
    def threshold(self) -> float:
        """The threshold t = 2^k."""
        return 2.0**self.exponent

    @property
    def scale(self) -> float:
        """The step Δ between two neighbouring values."""
        return float(np.float32(2.0 ** (self.exponent - self.bits + self.signed)))

    @property
    def integers(self) -> tuple[int, int]:
        """Smallest and largest integer, as stored: they do not depend on the shift."""
        return integer_range(bits=self.bits, signed=self.signed)

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value."""
        low, high = self.integers
        return (low - self.shift) * self.scale, (high - self.shift) * self.scale

    def nearest(self, x: Floats) -> Floats:
        """Quantize and dequantize: the nearest value on the grid, same shape and type as ``x``."""
        low, high = self.integers
        scale = np.asarray(self.scale, x.dtype)
        return np.clip(np.rint(x / scale), low - self.shift, high - self.shift) * scale


def integer_range(*, bits: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest integer of a grid."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def scales(exponents: ArrayLike, *, bits: int, signed: bool) -> NDArray[np.float32]:
    """Steps Δ = 2^(k − b + s) for an array of threshold exponents, any shape, as float32."""
    return np.exp2(np.asarray(exponents, np.float32) - (bits - signed)).astype(np.float32)


def exponent_of(threshold: ArrayLike) -> NDArray[np.int64]:
    """Smallest k with 2^k ≥ threshold, at least MIN_EXPONENT, any shape."""
    # frexp is exact where log2 is not: x = m · 2^e with 0.5 ≤ m < 1.
    mantissa, exponent = np.frexp(np.asarray(threshold, np.float64))
    k = np.where(mantissa == 0.5, exponent - 1, exponent)
    return np.maximum(np.where(mantissa == 0, MIN_EXPONENT, k), MIN_EXPONENT).astype(np.int64)


def quantize(x: Floats, scale: ArrayLike, *, bits: int, signed: bool) -> Floats:
    """Integers (still in floating point) of ``x`` on the grid; ``scale`` broadcasts against it."""
    low, high = integer_range(bits=bits, signed=signed)
    return np.clip(np.rint(x / np.asarray(scale, x.dtype)), low, high)


def fake_quantize(x: Floats, scale: ArrayLike, *, bits: int, signed: bool) -> Floats:
    """Quantize and dequantize: the nearest value on the grid, same shape and type as ``x``."""
    return quantize(x, scale, bits=bits, signed=signed) * np.asarray(scale, x.dtype)


def weight_exponents(
    weight: Floats,
    *,
    bits: int,
    axis: int,
    candidates: int = 10,
    importance: Floats | None = None,
) -> NDArray[np.int64]:
    """Threshold exponent of every channel that minimises the mean squared error.

    The candidates are 2P, P, P/2, … with P the smallest power of two whose grid holds max|w|: its
    positive end is P − Δ (the grid search of HPTQ, arXiv 2109.09113).

    Args:
        weight: Any shape, float.
        bits: Bits of the signed grid.
        axis: The channel axis.
        candidates: How many thresholds are tried.
        importance: Weights of the squared errors, broadcastable to ``weight``; all ones by default.

    Returns:
        One exponent per channel, shape (channels,).
    """
    moved = np.moveaxis(weight, axis, 0)
    rows = moved.reshape(moved.shape[0], -1).astype(np.float64)
    factor: Floats = np.ones(1)
    if importance is not None:
        spread = np.moveaxis(np.broadcast_to(importance, weight.shape), axis, 0)
        factor = spread.reshape(rows.shape)
    # The positive end of a signed grid is t − Δ, so the largest weight is stretched by that much.
    top = (1 << (bits - 1)) - 1
    no_clipping = exponent_of(np.abs(rows).max(axis=1, initial=0.0) * (top + 1) / top)
    best = no_clipping + 1
    best_error = np.full(len(rows), np.inf)
    for step in range(candidates):
        exponents = np.maximum(no_clipping + 1 - step, MIN_EXPONENT)
        scale = scales(exponents, bits=bits, signed=True)[:, None].astype(np.float64)
        errors = fake_quantize(rows, scale, bits=bits, signed=True) - rows
        error = np.sum(factor * errors**2, axis=1)
        better = error < best_error
        best = np.where(better, exponents, best)
        best_error = np.minimum(error, best_error)
    return best


FLOAT_BITS: Final = 32
"""Bits of a layer that stays float."""
