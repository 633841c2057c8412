"""The grids of cells on which detectors without queries look for objects, finest first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from zqc.detection.conventions.convention import Facts, Outputs, Size
from zqc.detection.conventions.functions import softmax

STRIDES = (4, 8, 16, 32, 64, 128)

RUNS = (
    (8, 16, 32),
    (8, 16, 32, 64),
    (4, 8, 16, 32),
    (4, 8, 16, 32, 64),
    (16, 32),
    (16, 32, 64),
)
"""Strides that YOLOs have together: most 8, 16 and 32, larger ones 64 besides, those for small
objects 4. Other sums of cells are more likely chance."""


def grid_size(size: Size, stride: int) -> Size:
    """Rows and columns of the grid of a stride on an input; what fills no cell has one, too."""
    height, width = size
    return -(-height // stride), -(-width // stride)


def strides_of(size: Size, grids: Collection[Size]) -> tuple[int, ...]:
    """The strides of some grids: each twice the one before.

    Returns:
        From the finest grid to the coarsest; empty where the grids are not those of such strides.
    """
    ordered = sorted(set(grids), reverse=True)
    for start in range(len(STRIDES)):
        strides = STRIDES[start : start + len(ordered)]
        if [grid_size(size, stride) for stride in strides] == ordered:
            return strides
    return ()


def count_cells(size: Size, strides: Sequence[int]) -> int:
    """The number of cells of all grids."""
    return sum(rows * columns for rows, columns in (grid_size(size, s) for s in strides))


def strides_of_cells(
    size: Size, cells: int, runs: Collection[tuple[int, ...]] = RUNS
) -> tuple[int, ...]:
    """Which run of strides has so many cells; empty where none has, or more than one."""
    found = [run for run in runs if count_cells(size, run) == cells]
    return found[0] if len(found) == 1 else ()


def cell_points(
    size: Size, strides: Sequence[int], *, offset: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The place of every cell, in the order of the strides, the cells of a grid row by row.

    Args:
        size: Height and width of the input in pixels.
        strides: Of the grids.
        offset: Where in its cell the place is: 0 in its corner, 0.5 in its middle.

    Returns:
        (x, y) in pixels, shape (A, 2), and the stride of each, shape (A, 1).
    """
    places, widths = [], []
    for stride in strides:
        rows, columns = np.mgrid[tuple(slice(n) for n in grid_size(size, stride))]
        place = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + offset) * stride
        places.append(place.astype(np.float32))
        widths.append(np.full((len(place), 1), stride, np.float32))
    return np.concatenate(places), np.concatenate(widths)


def from_distances(
    points: NDArray[np.float32], distances: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Boxes from points (x, y) and distances to the left, top, right and bottom."""
    return np.concatenate([points - distances[..., :2], points + distances[..., 2:]], axis=-1)


def expected_bins(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of each of four distributions over 0, 1, …, R (Li et al., Generalized Focal Loss).

    Args:
        values: Before the softmax, the bins of one side next to each other, shape (…, 4·(R + 1)).

    Returns:
        Shape (…, 4).
    """
    bins = values.reshape(*values.shape[:-1], 4, -1)
    places = np.arange(bins.shape[-1], dtype=np.float32)
    means: NDArray[np.float32] = (softmax(bins) * places).sum(axis=-1)
    return means


def in_rows(values: NDArray[np.generic], columns: int) -> NDArray[np.float32]:
    """Turn N × a·columns × h × w into N × h·w·a × columns; the a of a cell next to each other.

    What is in rows already stays so.
    """
    array = np.asarray(values, np.float32)
    if array.ndim == 3:
        return array
    return array.transpose(0, 2, 3, 1).reshape(len(array), -1, columns)


def joined_rows(outputs: Outputs, names: Sequence[str], columns: int) -> NDArray[np.float32]:
    """The rows of all grids, see ``in_rows``."""
    return np.concatenate([in_rows(outputs[name], columns) for name in names], axis=1)


def levels(facts: Facts, count: int) -> tuple[tuple[int, ...], tuple[tuple[str, ...], ...]]:
    """Outputs N × C × h × w on grids of strides that double, so many on each grid.

    Returns:
        The strides and the names of the outputs of each, in the order of the model; both empty
        where the outputs are something else.
    """
    grids: dict[Size, list[str]] = {}
    for name, shape in facts.outputs.items():
        if len(shape) != 4:
            return (), ()
        grids.setdefault((shape[2], shape[3]), []).append(name)
    strides = strides_of(facts.size, grids)
    ordered = tuple(tuple(grids[size]) for size in sorted(grids, reverse=True))
    if not strides or any(len(names) != count for names in ordered):
        return (), ()
    return strides, ordered


def with_channels(facts: Facts, names: Sequence[Sequence[str]], wanted: int) -> tuple[str, ...]:
    """The one output of each grid with so many channels; empty where one has none or several."""
    found = [[name for name in each if facts.outputs[name][1] == wanted] for each in names]
    return tuple(chain(*found)) if all(len(each) == 1 for each in found) else ()
