"""Masks in little memory."""

import pickle

import numpy as np
import pytest

from zqc.detection.masks import Masks


@pytest.mark.parametrize("grid", [(5, 7), (8, 8), (1, 1)])
def test_masks_come_back(grid):
    """Cell by cell, also where the bits do not fill a byte, and from another process."""
    masks = np.random.default_rng(0).random((6, *grid)) < 0.5
    packed = pickle.loads(pickle.dumps(Masks.of(masks)))
    assert (len(packed), packed.grid) == (6, grid)
    assert (packed.arrays() == masks).all()
    assert packed.areas.tolist() == masks.sum(axis=(1, 2)).tolist()


def test_some_are_taken():
    """By index or by a truth value for each; no masks at all keep the grid."""
    masks = np.arange(24).reshape(4, 2, 3) % 5 == 0
    packed = Masks.of(masks)
    for which in (np.array([2, 0]), [3], np.array([True, False, True, False])):
        wanted = masks[which]
        assert (packed[which].arrays() == wanted).all()
        assert packed[which].areas.tolist() == wanted.sum(axis=(1, 2)).tolist()
    assert packed[[]].arrays().shape == (0, 2, 3)


def test_many_masks_need_little_memory():
    """300 discs on a grid of 160 x 160 need less than an eightieth of their truth values."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:160, :160]
    x, y = rng.uniform(0, 160, (2, 300, 1, 1))
    radius = rng.uniform(2, 40, (300, 1, 1))
    masks = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    assert sum(map(len, Masks.of(masks).packed)) < masks.size / 80
