"""Grids of cells over an input."""

import pytest

from zqc.detection.conventions.yolo_grids import (
    are_run,
    corners,
    grid,
    per_cell,
    stride_of,
    strides_of,
)


@pytest.mark.parametrize(
    ("cells", "size", "strides"),
    [
        (8400, (640, 640), (8, 16, 32)),
        (34000, (640, 640), (4, 8, 16, 32)),
        (34000, (1280, 1280), (8, 16, 32, 64)),
        (2000, (640, 640), (16, 32)),
        (6300, (480, 640), (8, 16, 32)),
        (38, (160, 160), None),  # of strides 32, 64 and 128, which no detector has
        (6400, (640, 640), None),
    ],
)
def test_the_number_of_cells_gives_the_strides(cells, size, strides):
    """Of runs that detectors have, and of no others."""
    assert strides_of(cells, *size) == strides
    assert strides is None or are_run(list(strides))


def test_cells_of_a_grid():
    """The last may be cut; a size that fits no stride has none."""
    assert grid(100, 64, 32) == (4, 2)
    assert stride_of(4, 2, 100, 64) == 32
    assert stride_of(5, 2, 100, 64) is None
    assert not are_run([8, 32])


def test_places_and_strides_of_cells():
    """Row by row, grid by grid."""
    assert corners(16, 32, (8, 16)).tolist() == [
        *([0, 0], [1, 0], [2, 0], [3, 0], [0, 1], [1, 1], [2, 1], [3, 1]),
        *([0, 0], [1, 0]),
    ]
    assert per_cell(16, 32, (8, 16)).ravel().tolist() == [8] * 8 + [16] * 2
