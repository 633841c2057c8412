"""Grids of cells."""

import numpy as np
import pytest

from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.grids import (
    cell_points,
    count_cells,
    expected_bins,
    from_distances,
    grid_size,
    in_rows,
    joined_rows,
    levels,
    strides_of,
    strides_of_cells,
    with_channels,
)


@pytest.mark.parametrize(
    ("grids", "strides"),
    [
        ([(40, 60), (20, 30), (10, 15)], (8, 16, 32)),
        ([(10, 15), (40, 60), (20, 30)], (8, 16, 32)),
        ([(80, 120)], (4,)),
        ([(40, 60), (10, 15)], ()),
        ([(39, 60), (20, 30)], ()),
        ([], ()),
    ],
)
def test_strides_follow_from_the_sizes_of_grids(grids, strides):
    """In any order; a grid that is left out, or of another size, is of none."""
    assert strides_of((320, 480), grids) == strides


def test_a_rest_of_a_cell_is_a_cell():
    """As layers with padding have it; and runs of strides are told apart by their cells."""
    assert grid_size((320, 300), 64) == (5, 5)
    assert count_cells((320, 320), (32, 64)) == 125
    assert strides_of_cells((320, 320), 125, [(16, 32), (32, 64)]) == (32, 64)
    assert strides_of_cells((320, 320), 126, [(16, 32), (32, 64)]) == ()
    assert strides_of_cells((320, 320), 125, [(32, 64), (32, 64)]) == ()


@pytest.mark.parametrize(
    ("cells", "size", "strides"),
    [
        (8400, (640, 640), (8, 16, 32)),
        (34000, (640, 640), (4, 8, 16, 32)),
        (34000, (1280, 1280), (8, 16, 32, 64)),
        (2000, (640, 640), (16, 32)),
        (6300, (480, 640), (8, 16, 32)),
        (38, (160, 160), ()),  # of strides 32, 64 and 128, which no YOLO has
        (6400, (640, 640), ()),
    ],
)
def test_the_number_of_cells_gives_the_strides(cells, size, strides):
    """Of runs that YOLOs have, and of no others."""
    assert strides_of_cells(size, cells) == strides


def test_cells_stand_row_by_row():
    """(x, y) in pixels, grid by grid, with the stride of each."""
    points, strides = cell_points((16, 24), (8, 16), offset=0.5)
    assert points[:6].tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert points[6:].tolist() == [[8, 8], [24, 8]]
    assert strides.ravel().tolist() == [8] * 6 + [16] * 2


def test_distances_and_bins_become_boxes():
    """Left, top, right, bottom around a point; the mean of a distribution by its definition."""
    points, distances = np.float32([[10, 20]]), np.float32([[1, 2, 3, 4]])
    assert from_distances(points, distances).tolist() == [[9, 18, 13, 24]]
    values = np.random.default_rng(0).normal(0, 1, (2, 4 * 8))
    powers = np.exp(values.reshape(2, 4, 8))
    expected = (powers * np.arange(8)).sum(axis=-1) / powers.sum(axis=-1)
    found = expected_bins(values.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_channels_become_columns():
    """Channel a·columns + k of a cell is column k of its row a."""
    values = np.arange(2 * 6 * 2 * 3, dtype=np.float32).reshape(2, 6, 2, 3)
    rows = in_rows(values, 3)
    assert rows.shape == (2, 12, 3)
    assert rows[1, 2 * (1 * 3 + 2) + 1].tolist() == values[1, 3:, 1, 2].tolist()
    assert in_rows(rows, 3).tolist() == rows.tolist()
    joined = joined_rows({"fine": values, "coarse": rows}, ("fine", "coarse"), 3)
    assert joined.tolist() == np.concatenate([rows, rows], axis=1).tolist()


def test_outputs_are_sorted_by_their_grids():
    """So many on each, the finest grid first; anything else has no levels."""
    shapes = {"a": (1, 4, 8, 8), "b": (1, 5, 8, 8), "c": (1, 5, 16, 16), "d": (1, 4, 16, 16)}
    facts = Facts(shapes, 128, 128)
    strides, names = levels(facts, 2)
    assert (strides, names) == ((8, 16), (("c", "d"), ("a", "b")))
    assert with_channels(facts, names, 4) == ("d", "a")
    assert with_channels(facts, names, 6) == ()
    assert levels(facts, 3) == ((), ())
    assert levels(Facts({**shapes, "e": (1, 4)}, 128, 128), 2) == ((), ())
    assert levels(Facts(shapes, 128, 130), 2) == ((), ())
