"""Rounding of weights that lets later weights make up for the errors of earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from passes.analysis.log_affine import finder, nearest
from passes.arithmetic import integer_range, quantize

_DAMPING = 0.01
"""Share of the mean diagonal that is added to it, as published for GPTQ."""

_COLUMNS_AT_ONCE = 32
"""Columns that hear of each error by itself; those behind them are brought up by a product."""

Floats = NDArray[np.float64]


def on_grid(
    x: NDArray[np.floating],
    scale: NDArray[np.floating],
    bits: int,
    levels: NDArray[np.floating] | None,
) -> NDArray[np.floating]:
    """The nearest integers of a signed grid, or the nearest levels, in the shape of ``x``.

    Args:
        x: Shape (..., rows).
        scale: The step of each row, broadcastable to ``x``.
        bits: Bits of the grid.
        levels: Rising integers of each row, (..., rows, levels); None for a grid.
    """
    if levels is None:
        return quantize(x, scale, bits=bits, signed=True)
    return nearest(x / scale, levels)


@dataclass(frozen=True)
class Rounded:
    """Weights on their grid.

    Attributes:
        integers: In the shape of the weights, (..., rows, K), as floats.
        errors: (w − Δq)ᵀ M (w − Δq) of each row, shape (..., rows), under the damped moments.
    """

    integers: Floats
    errors: Floats


@dataclass(frozen=True)
class Compensation:
    """Rounds rows so that the error of their product with the input is small, not their own.

    For rows w, inputs x with M = E[x xᵀ] and integers q, the error of the output is
    (w − Δq)ᵀ M (w − Δq). Column by column, in the order of falling E[x²], a weight is rounded and
    the columns that are still open make up for its error (GPTQ, Frantar et al. 2022, arXiv
    2210.17323). With M = RᵀR, R upper triangular, and the columns in the opposite order, that
    error is Σ_i (R_ii·e_i + Σ_{j>i} R_ij·e_j)² for e = w − Δq, and from the last to the first

        q_i = round((w_i + Σ_{j>i} R_ij·e_j / R_ii) / Δ),

    the same integers without an inverse: it is Babai's nearest plane (arXiv 2507.18553).

    Attributes:
        order: The columns by rising E[x²], shape (..., K).
        root: R in that order, shape (..., K, K).
    """

    order: NDArray[np.int64]
    root: Floats

    @classmethod
    def of(cls, moments: NDArray[np.floating]) -> Compensation:
        """For inputs with the second moments M, shape (..., K, K)."""
        diagonal = np.diagonal(moments, axis1=-2, axis2=-1)
        order = np.argsort(-diagonal, axis=-1, kind="stable")[..., ::-1]
        down, across = order[..., np.newaxis], order[..., np.newaxis, :]
        in_order = np.take_along_axis(np.take_along_axis(moments, down, -2), across, -1)
        return cls(order, _root(in_order))

    def rounded(
        self,
        weight: NDArray[np.floating],
        scale: NDArray[np.floating],
        *,
        bits: int,
        levels: NDArray[np.floating] | None = None,
    ) -> Rounded:
        """Round.

        Args:
            weight: Shape (..., rows, K); matrices are independent of each other.
            scale: Δ of each row, shape (..., rows).
            bits: Bits of the signed grid.
            levels: Rising integers of each row, shape (..., rows, levels), where it is no such
                grid.
        """
        down = self.order[..., np.newaxis]
        columns = np.take_along_axis(weight.swapaxes(-1, -2).astype(np.float64), down, -2)
        rounded, errors = _in_turn(columns, self.root, scale, _rounding(bits, levels))
        result = np.empty_like(rounded)
        np.put_along_axis(result, down, rounded, -2)
        return Rounded(result.swapaxes(-1, -2), errors)


def _rounding(
    bits: int, levels: NDArray[np.floating] | None
) -> Callable[[NDArray[np.floating]], NDArray[np.floating]]:
    """What rounds steps to a signed grid, or to levels: as ``on_grid`` does, for many columns."""
    if levels is not None:
        return finder(levels)
    low, high = integer_range(bits=bits, signed=True)

    def to_grid(steps: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.asarray(np.minimum(np.maximum(np.rint(steps), low), high))

    return to_grid


def _in_turn(
    columns: Floats,
    upper: Floats,
    scale: NDArray[np.floating],
    to_grid: Callable[[NDArray[np.floating]], NDArray[np.floating]],
) -> tuple[Floats, Floats]:
    """Round columns, shape (..., K, rows), from the last to the first; also the rows' errors."""
    rounded, owed = np.empty_like(columns), np.zeros_like(columns)
    total = np.zeros(columns.shape[:-2] + columns.shape[-1:])
    for stop in range(columns.shape[-2], 0, -_COLUMNS_AT_ONCE):
        start = max(stop - _COLUMNS_AT_ONCE, 0)
        errors = np.empty_like(columns[..., start:stop, :])
        for j in reversed(range(start, stop)):
            own, column, due = upper[..., j, j, np.newaxis], columns[..., j, :], owed[..., j, :]
            found = to_grid((column + due / own) / scale)
            error = column - found * scale
            total += np.square(own * error + due)
            owed[..., start:j, :] += upper[..., start:j, j, np.newaxis] * error[..., np.newaxis, :]
            rounded[..., j, :], errors[..., j - start, :] = found, error
        owed[..., :start, :] += upper[..., :start, start:stop] @ errors
    return rounded, total


def _root(moments: NDArray[np.floating]) -> Floats:
    """Upper triangular R with RᵀR = M, M damped so that dead inputs do not matter."""
    exact = moments.astype(np.float64)
    mean = np.diagonal(exact, axis1=-2, axis2=-1).mean(axis=-1)
    damping = _DAMPING * np.maximum(mean, 1e-12)[..., np.newaxis, np.newaxis]
    lower = np.linalg.cholesky(exact + damping * np.eye(exact.shape[-1]))
    return np.ascontiguousarray(lower.swapaxes(-1, -2), np.float64)
