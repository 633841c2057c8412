"""Overlaps with a closed form."""

import dataclasses
import math

import numpy as np
import pytest

from tests.zqc.detection.test_average_precision import found
from zqc.detection.boxes import iou_matrix
from zqc.detection.masks import Masks
from zqc.detection.overlap import (
    keypoint_similarity,
    mask_iou,
    oks_sigmas,
    overlaps,
    rotated_iou,
)

SQUARE = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], float)
DIAMOND = np.array([[1, 0], [2, 1], [1, 2], [0, 1]], float)


def turned(corners, angle):
    """Turn about the centre of the square."""
    cos, sin = math.cos(angle), math.sin(angle)
    return (corners - 1) @ np.array([[cos, sin], [-sin, cos]]) + 1


def test_rotated_boxes():
    """A diamond in a square, squares at 45° (an octagon), far apart, without area, either way."""
    octagon = 8 * (math.sqrt(2) - 1)  # of inner radius 1
    cases = {
        1.0: SQUARE,
        0.5: DIAMOND,
        octagon / (8 - octagon): turned(SQUARE, math.pi / 4),
        1 / 3: SQUARE + np.array([1, 0]),
        1 / 7: SQUARE + np.array([1, 1]),
        0.0: SQUARE + np.array([5, 0]),
    }
    for expected, other in cases.items():
        for corners in (other, other[::-1], np.roll(other, 1, axis=0)):
            assert rotated_iou(SQUARE[None], corners[None])[0, 0] == pytest.approx(expected)
            assert rotated_iou(corners[None], SQUARE[None])[0, 0] == pytest.approx(expected)
    assert rotated_iou(SQUARE[None], np.ones((1, 4, 2))).tolist() == [[0]]
    assert rotated_iou(SQUARE[None], np.zeros((0, 4, 2))).shape == (1, 0)


def test_upright_boxes_as_rotated_ones():
    """The same as the IoU of boxes."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 5, (12, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 5, (12, 2))], 1)
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    assert rotated_iou(corners, corners) == pytest.approx(iou_matrix(boxes, boxes))


def test_masks():
    """Shared cells over covered ones; empty masks have 0."""
    left, top, nothing = np.zeros((3, 4, 4), bool)
    left[:, :2] = top[:2] = True
    iou = mask_iou(np.stack([left, nothing]), np.stack([left, top, nothing]))
    assert iou == pytest.approx(np.array([[1, 4 / 12, 0], [0, 0, 0]]))


def test_masks_without_a_cell_are_compared_by_their_boxes():
    """A box that is smaller than a cell is itself; with one that covers something it is nothing."""
    masks = np.zeros((2, 4, 4), bool)
    masks[1, 0, 0] = True
    both = dataclasses.replace(
        found([[0, 0, 1, 1], [0, 0, 1, 1]], [0.9, 0.8]), masks=Masks.of(masks)
    )
    assert overlaps(both, both).tolist() == [[1, 0], [0, 1]]


def test_keypoints():
    """Points off by d: exp(-d²/(2·0.53·area·(2σ)²)); unseen points are left out."""
    points = np.array([[[0, 0, 0.9], [10, 0, 0.9], [99, 99, 0.1]]])
    moved = points + np.array([3, 4, 0])
    boxes = np.array([[0, 0, 10, 20]], float)
    expected = math.exp(-25 / (2 * 0.53 * 200 * (2 / 3) ** 2))
    assert keypoint_similarity(points, boxes, moved)[0, 0] == pytest.approx(expected)
    assert keypoint_similarity(points, boxes, points)[0, 0] == 1
    moved[0, 2] = 500
    assert keypoint_similarity(points, boxes, moved)[0, 0] == pytest.approx(expected)
    unseen = points * [1, 1, 0]
    assert keypoint_similarity(unseen, boxes, moved)[0, 0] == pytest.approx(2 / 3 * expected)


def test_sigmas():
    """COCO's for its 17 points: nose first, ankles last."""
    assert (len(oks_sigmas(17)), oks_sigmas(17)[0], oks_sigmas(17)[16]) == (17, 0.026, 0.089)
    assert oks_sigmas(4).tolist() == [0.25] * 4


def test_what_detections_consist_of_decides():
    """Masks before corners before keypoints before boxes; where only one side has it, boxes."""
    one = found([[0, 0, 2, 2]], [0.9])
    corners = dataclasses.replace(one, corners=SQUARE[None])
    other = dataclasses.replace(one, corners=DIAMOND[None])
    assert overlaps(one, other)[0, 0] == 1
    assert overlaps(corners, other)[0, 0] == pytest.approx(0.5)
    masks = Masks.of(np.ones((1, 2, 2), bool))
    masked = [dataclasses.replace(c, masks=masks) for c in (corners, other)]
    assert overlaps(*masked)[0, 0] == 1
    far = np.full((1, 2, 3), 99.0)
    poses = [dataclasses.replace(one, keypoints=p) for p in (np.ones((1, 2, 3)), far)]
    assert overlaps(*poses)[0, 0] < 0.01
