"""Detections and labels become shapes in their order, with what is known of each."""

import math

import numpy as np

from zqc.detection.average_precision import Truth
from zqc.detection.detections import Detections
from zqc.report.html.shapes import found_shapes, label_shapes

BOXES = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)


def test_detections():
    """Name, score, what became of it, and the overlap of those that have a partner."""
    found = Detections(BOXES, np.array([0.75, 0.5]), np.array([1, 7]))
    first, second = found_shapes(found, ("cat", "dog"), ("kept", "lost"), (0.923, math.nan))
    assert (first.box, first.name, first.score) == ((1, 2, 3, 4), "dog", 0.75)
    assert (first.state, first.note) == ("kept", "IoU 0.92")
    assert (second.name, second.state, second.note) == ("class 7", "lost", "")
    assert [shape.state for shape in found_shapes(found, ())] == ["", ""]


def test_rotated_boxes_and_poses():
    """Corners in their order; the keypoints that are visible."""
    corners = np.arange(16, dtype=float).reshape(2, 4, 2)
    joints = np.array([[[1, 2, 0.9], [3, 4, 0]], [[5, 6, 1], [7, 8, 1]]])
    found = Detections(BOXES, np.ones(2), np.zeros(2, int), keypoints=joints, corners=corners)
    first, second = found_shapes(found, ("ship",))
    assert first.corners == ((0, 1), (2, 3), (4, 5), (6, 7))
    assert first.keypoints == ((1, 2),)
    assert second.keypoints == ((5, 6), (7, 8))


def test_labels():
    """They have a name and no score; a crowd is no label of one thing."""
    truth = Truth(BOXES, np.array([0, 0]), np.array([False, True]))
    [shape] = label_shapes(truth, ("cat",))
    assert (shape.box, shape.name, shape.state) == ((1, 2, 3, 4), "cat", "")
    assert math.isnan(shape.score)
