"""What was found in a picture, chosen and mapped back to it."""

import numpy as np

from zqc.detection.detections import Detections
from zqc.detection.masks import Masks
from zqc.pictures.images import PicturePlacement

FOUND = Detections(
    np.array([[10.0, 20, 30, 40], [0, 0, 8, 8]]),
    np.array([0.9, 0.2]),
    np.array([3, 1]),
    keypoints=np.array([[[20.0, 30, 1]], [[4, 4, 0.5]]]),
    corners=np.array([[[10.0, 20], [30, 20], [30, 40], [10, 40]]] * 2),
    masks=Masks.of(np.array([[[True]], [[False]]])),
)


def test_all_that_belongs_to_a_detection_is_taken_with_it():
    """Scores above a threshold keep their boxes, classes, keypoints, corners and masks."""
    best = FOUND.above(0.5)
    assert len(best) == 1
    assert best.boxes.tolist() == [[10, 20, 30, 40]]
    assert best.labels.tolist() == [3]
    assert best.keypoints.tolist() == [[[20, 30, 1]]]
    assert best.corners[0, 2].tolist() == [30, 40]
    assert best.masks.arrays().tolist() == [[[True]]]


def test_what_lies_outside_is_gone():
    """A box that begins behind the border has no area left, so nothing could ever match it."""
    placed = FOUND.in_picture(PicturePlacement(1.0, 1.0, 9, 9, width=50, height=50))
    assert placed.boxes.tolist() == [[1, 11, 21, 31]]
    assert placed.labels.tolist() == [3]


def test_places_in_the_input_become_places_in_the_picture():
    """Scaled by 1/2 and moved by the padding; boxes end at the border, visibility stays."""
    placed = FOUND.in_picture(PicturePlacement(2.0, 2.0, 4, 6, width=10, height=100))
    assert placed.boxes.tolist() == [[3, 7, 10, 17], [0, 0, 2, 1]]
    assert placed.keypoints[0].tolist() == [[8, 12, 1]]
    assert placed.corners[0].tolist() == [[3, 7], [13, 7], [13, 17], [3, 17]]
