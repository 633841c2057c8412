"""The grids of cells on which detectors look for objects, finest first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RUNS = (
    (8, 16, 32),
    (8, 16, 32, 64),
    (4, 8, 16, 32),
    (4, 8, 16, 32, 64),
    (16, 32),
    (16, 32, 64),
)
"""Strides that detectors have together; other sums of cells are more likely chance."""


def grid(height: int, width: int, stride: int) -> tuple[int, int]:
    """Rows and columns of the grid of a stride over an input; the last cells may be cut."""
    return -(-height // stride), -(-width // stride)


def strides_of(cells: int, height: int, width: int) -> tuple[int, ...] | None:
    """Strides whose grids have so many cells together, or None.

    Most detectors have 8, 16 and 32; larger ones 64 besides, those for small objects 4.
    """
    for run in _RUNS:
        sizes = (grid(height, width, stride) for stride in run)
        if sum(rows * columns for rows, columns in sizes) == cells:
            return run
    return None


def stride_of(rows: int, columns: int, height: int, width: int) -> int | None:
    """The stride of a grid with so many rows and columns, or None."""
    return next((s for s in _RUNS[3] if grid(height, width, s) == (rows, columns)), None)


def are_run(strides: list[int]) -> bool:
    """Whether strides are a run as detectors have it, in order."""
    return tuple(strides) in _RUNS


def corners(height: int, width: int, strides: tuple[int, ...]) -> NDArray[np.float32]:
    """The upper left corner (x, y) of every cell in cells of its grid, shape (cells, 2).

    Grids come in the order of the strides, cells row by row.
    """
    places = [np.indices(grid(height, width, s))[::-1].reshape(2, -1).T for s in strides]
    return np.concatenate(places).astype(np.float32)


def per_cell(height: int, width: int, strides: tuple[int, ...]) -> NDArray[np.float32]:
    """The stride of every cell, in the order of ``corners``, shape (cells, 1)."""
    counts = [int(np.prod(grid(height, width, s))) for s in strides]
    return np.repeat(np.array(strides, np.float32), counts)[:, None]
