"""Boxes: conversions, overlap, mapping back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zqc.detection.boxes import (
    centres_from_corners,
    clip,
    corners_from_centres,
    generalized_iou_matrix,
    iou_matrix,
    to_picture,
)
from zqc.pictures.images import fit


def test_centres_and_corners_are_inverse():
    """The closed form on one box, and the way back on many."""
    assert corners_from_centres(np.array([10.0, 20, 4, 8])).tolist() == [8, 16, 12, 24]
    boxes = np.random.default_rng(0).uniform(0, 100, (50, 4))
    np.testing.assert_allclose(centres_from_corners(corners_from_centres(boxes)), boxes, atol=1e-12)


def test_iou_has_its_closed_form():
    """Same, half-shifted, contained, touching, apart and empty boxes."""
    unit = np.array([[0.0, 0, 2, 2]])
    others = np.array(
        [[0, 0, 2, 2], [1, 0, 3, 2], [0, 0, 1, 1], [2, 0, 4, 2], [5, 5, 6, 6], [1, 1, 1, 1]], float
    )
    np.testing.assert_allclose(iou_matrix(unit, others), [[1, 1 / 3, 1 / 4, 0, 0, 0]], atol=1e-12)


def test_the_generalized_iou_has_its_closed_form():
    """Same, half-shifted, contained, touching, apart and empty boxes; without any area 0."""
    unit = np.array([[0.0, 0, 2, 2]])
    others = np.array(
        [[0, 0, 2, 2], [1, 0, 3, 2], [0, 0, 1, 1], [2, 0, 4, 2], [5, 5, 6, 6], [1, 1, 1, 1]], float
    )
    expected = [[1, 1 / 3, 1 / 4, 0, -31 / 36, 0]]
    np.testing.assert_allclose(generalized_iou_matrix(unit, others), expected, atol=1e-12)
    assert generalized_iou_matrix(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0.0]]


def test_the_iou_of_two_empty_boxes_is_zero():
    """No division by zero where the union has no area; no boxes give an empty matrix."""
    nothing = np.zeros((1, 4))
    assert iou_matrix(nothing, nothing).tolist() == [[0.0]]
    assert iou_matrix(np.zeros((0, 4)), nothing).shape == (0, 1)


def test_boxes_are_cut_at_the_borders():
    """The width bounds x and the height bounds y."""
    assert clip(np.array([[-1.0, -2, 50, 60]]), 20, 30).tolist() == [[0, 0, 30, 20]]


@pytest.mark.parametrize("mode", ["letterbox", "stretch"])
@given(size=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_the_whole_picture_maps_back_to_itself(mode, size):
    """The rectangle that a picture fills in the input is the whole picture, to 1e-4 pixels."""
    height, width = size
    _, placed = fit(np.zeros((height, width, 3), np.uint8), 32, 48, mode)
    filled = np.array(
        [
            placed.left,
            placed.top,
            placed.left + width * placed.scale_x,
            placed.top + height * placed.scale_y,
        ],
        np.float32,
    )
    back = to_picture(filled[None], placed)[0]
    np.testing.assert_allclose(back, [0, 0, width, height], atol=1e-4)
