"""Layers compared channel by channel: weights that are parallel, and the factors between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TOLERANCE = 5e-3
"""Of weights and biases, in units of their norm. Checkpoints in float16 (Ultralytics') are off by
3e-4, bfloat16 by 2e-3; what was trained further by far more."""


def rows_of(weight: NDArray[np.floating], operator: str, groups: int = 1) -> Floats:
    """Weights as a row for each output channel, shape (C_out, C_in/g · k).

    Args:
        weight: (C_out, C_in/g, …) of a Conv, (C_out, C_in) of a Gemm, (C_in, C_out/g, …) of a
            ConvTranspose.
        operator: Which.
        groups: Groups of a ConvTranspose.
    """
    array = np.asarray(weight, np.float64)
    if operator == "ConvTranspose":
        split = array.reshape(groups, array.shape[0] // groups, array.shape[1], -1)
        array = split.transpose(0, 2, 1, 3).reshape(groups * array.shape[1], -1)
    return array.reshape(array.shape[0], -1)


def signature(rows: Floats) -> Floats:
    """|cos| of the angle between each row and a fixed direction, shape (C_out,).

    It does not change with a factor per row, so it finds which arrays are worth comparing.
    """
    direction = np.cos(np.arange(rows.shape[1]) ** 2 + 1.0)
    direction /= np.linalg.norm(direction)
    norms = np.linalg.norm(rows, axis=1)
    found: Floats = np.abs(rows @ direction) / np.maximum(norms, 1e-30)
    return found


@dataclass(frozen=True)
class Factors:
    """How the rows of one array follow from those of another.

    Attributes:
        values: Factor of each row, shape (C_out,); 0 where a row is 0.
        weight: What an error of each factor counts, the norm of the other's row.
        norm: Of the array.
    """

    values: Floats
    weight: Floats
    norm: float

    def error(self, expected: Floats) -> Floats:
        """How far weights with the expected factors are from these, in units of their norm.

        Args:
            expected: Shape (..., C_out).
        """
        off: Floats = np.linalg.norm((expected - self.values) * self.weight, axis=-1)
        return off / max(self.norm, 1e-30)


def factors(rows: Floats, others: Floats) -> Factors | None:
    """The factors f with rows ≈ f · others; None if the rows are not parallel."""
    squares = (others**2).sum(axis=1)
    values = (rows * others).sum(axis=1) / np.maximum(squares, 1e-30)
    norm = float(np.linalg.norm(rows))
    off = float(np.linalg.norm(rows - values[:, None] * others))
    if not norm or not off <= TOLERANCE * norm:
        return None
    return Factors(values, np.sqrt(squares), norm)
