"""Rounding of weights that lets later weights make up for the errors of earlier ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from passes.arithmetic import quantize

_DAMPING = 0.01
"""Share of the mean diagonal that is added to it, as published for GPTQ."""

_COLUMNS_AT_ONCE = 32
"""Columns that hear of each error by itself; those behind them are brought up by a product."""


def compensated(
    weight: NDArray[np.floating],
    moments: NDArray[np.floating],
    scale: NDArray[np.floating],
    *,
    bits: int,
) -> NDArray[np.float64]:
    """Round each row so that the error of its product with the input is small, not its own.

    For rows w, inputs x with M = E[x xᵀ] and integers q, the error of the output is
    (w − Δq)ᵀ M (w − Δq). Column by column, in the order of falling E[x²], a weight is rounded and
    the error e is spread over the columns that are still open: with M⁻¹ = UᵀU, U upper triangular,
    w_j ← w_j − e·U_ij / U_ii (GPTQ, Frantar et al. 2022, arXiv 2210.17323, algorithm 1).

    Args:
        weight: Shape (..., rows, K); matrices are independent of each other.
        moments: M, shape (..., K, K).
        scale: Δ of each row, shape (..., rows).
        bits: Bits of the signed grid.

    Returns:
        The integers, shape (..., rows, K), as floats.
    """
    order = np.argsort(-np.diagonal(moments, axis1=-2, axis2=-1), axis=-1, kind="stable")
    down, across = order[..., np.newaxis], order[..., np.newaxis, :]
    sorted_moments = np.take_along_axis(np.take_along_axis(moments, down, -2), across, -1)
    columns = np.take_along_axis(weight.swapaxes(-1, -2).astype(np.float64), down, -2)
    rounded = _in_turn(columns, _inverse_root(sorted_moments), scale, bits)
    result = np.empty_like(rounded)
    np.put_along_axis(result, down, rounded, -2)
    return result.swapaxes(-1, -2)


def _in_turn(
    columns: NDArray[np.float64],
    upper: NDArray[np.float64],
    scale: NDArray[np.floating],
    bits: int,
) -> NDArray[np.float64]:
    """Round columns, shape (..., K, rows), from the first to the last, which changes them."""
    rounded = np.empty_like(columns)
    count = columns.shape[-2]
    for start in range(0, count, _COLUMNS_AT_ONCE):
        stop = min(start + _COLUMNS_AT_ONCE, count)
        errors = np.empty_like(columns[..., start:stop, :])
        for j in range(start, stop):
            rounded[..., j, :] = quantize(columns[..., j, :], scale, bits=bits, signed=True)
            factors = upper[..., j, j:stop, np.newaxis]
            error = (columns[..., j, :] - rounded[..., j, :] * scale) / factors[..., 0, :]
            columns[..., j + 1 : stop, :] -= factors[..., 1:, :] * error[..., np.newaxis, :]
            errors[..., j - start, :] = error
        columns[..., stop:, :] -= upper[..., start:stop, stop:].swapaxes(-1, -2) @ errors
    return rounded


def _inverse_root(moments: NDArray[np.floating]) -> NDArray[np.float64]:
    """Upper triangular U with UᵀU = M⁻¹, M damped so that dead inputs do not matter."""
    exact = moments.astype(np.float64)
    mean = np.diagonal(exact, axis1=-2, axis2=-1).mean(axis=-1)
    damping = _DAMPING * np.maximum(mean, 1e-12)[..., np.newaxis, np.newaxis]
    inverse = np.linalg.inv(exact + damping * np.eye(exact.shape[-1]))
    lower = np.linalg.cholesky((inverse + inverse.swapaxes(-1, -2)) / 2)
    return np.asarray(lower.swapaxes(-1, -2), np.float64)
