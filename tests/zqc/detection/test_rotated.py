"""Rotated boxes: closed forms, and the overlap of ultralytics."""

import numpy as np
import pytest

from zqc.detection.rotated import corners, probabilistic_iou, upright

BOXES = np.array(
    [[30, 40, 20, 8, 0.3], [32, 41, 18, 9, 0.1], [30, 40, 8, 20, 0.3 + np.pi / 2], [70, 9, 4, 4, 1]]
)
PUBLISHED = np.array(
    [
        [0.999553, 0.785845, 0.999553, 0],
        [0.785845, 0.999553, 0.785845, 0],
        [0.999553, 0.785845, 0.999553, 0],
        [0, 0, 0, 0.999553],
    ]
)
"""What ``batch_probiou`` of ultralytics 8.4 gives for these boxes."""


def test_corners_turn_with_the_angle():
    """A quarter turn makes width and height change places; corners stay in order."""
    flat = corners(np.array([[10.0, 20, 8, 4, 0]]))
    assert flat.tolist() == [[[14, 22], [14, 18], [6, 18], [6, 22]]]
    turned = corners(np.array([[10.0, 20, 8, 4, np.pi / 2]]))
    assert turned[0].ravel().tolist() == pytest.approx([8, 24, 12, 24, 12, 16, 8, 16])


def test_the_upright_box_is_around_the_corners():
    """Of a square on its tip it has the diagonal as side."""
    [box] = upright(corners(np.array([[0, 0, 2, 2, np.pi / 4]])))
    half = np.sqrt(2)
    assert box.tolist() == pytest.approx([-half, -half, half, half])


def test_the_overlap_is_the_published_one():
    """Equal boxes have nearly 1, however they are written, and distant ones nearly 0."""
    assert np.allclose(probabilistic_iou(BOXES, BOXES), PUBLISHED, atol=2e-6)


def test_the_overlap_of_shifted_squares_is_a_closed_form():
    """Normal distributions of the same covariance: B = d² / (8 v), overlap = 1 - sqrt(1 - e^-B)."""
    first, second = np.array([[0, 0, 12, 12, 0.7]]), np.array([[3, 0, 12, 12, 0.7]])
    distance = 9 / (8 * 12)
    expected = 1 - np.sqrt(1 - np.exp(-distance))
    assert probabilistic_iou(first, second)[0, 0] == pytest.approx(expected, abs=1e-5)
