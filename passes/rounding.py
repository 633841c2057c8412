"""Rounding of weights that lets later weights make up for the errors of earlier ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from passes.arithmetic import quantize

_DAMPING = 0.01
"""Share of the mean diagonal that is added to it, as published for GPTQ."""


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
        weight: Shape (rows, K).
        moments: M, shape (K, K).
        scale: Δ of each row, shape (rows,).
        bits: Bits of the signed grid.

    Returns:
        The integers, shape (rows, K), as floats.
    """
    order = np.argsort(-np.diag(moments), kind="stable")
    upper = _inverse_root(moments[np.ix_(order, order)])
    remaining = weight[:, order].astype(np.float64)
    integers = np.empty_like(remaining)
    for column in range(remaining.shape[1]):
        rounded = quantize(remaining[:, column], scale, bits=bits, signed=True)
        integers[:, column] = rounded
        error = (remaining[:, column] - rounded * scale) / upper[column, column]
        remaining[:, column + 1 :] -= np.outer(error, upper[column, column + 1 :])
    result = np.empty_like(integers)
    result[:, order] = integers
    return result


def _inverse_root(moments: NDArray[np.floating]) -> NDArray[np.float64]:
    """Upper triangular U with UᵀU = M⁻¹, M damped so that dead inputs do not matter."""
    exact = moments.astype(np.float64)
    damping = _DAMPING * max(float(np.mean(np.diag(exact))), 1e-12)
    inverse = np.linalg.inv(exact + damping * np.eye(len(exact)))
    return np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T, np.float64)
