"""How much two detections overlap, by what they consist of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import iou_matrix
from zqc.detection.detections import Detections
from zqc.detection.rotated import upright

Floats = NDArray[np.floating]

# Standard deviations of people's clicks by keypoint, relative to the root of an object's area
# (COCO's evaluation of keypoints): nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
_COCO_SIGMAS = np.repeat(
    [0.026, 0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089], [1, *[2] * 8]
)
AREA_OF_BOX = 0.53  # an object's share of its box, where only the box is known (as Ultralytics)
_SEEN = 0.5  # least visibility of a keypoint that counts


def overlaps(reference: Detections, other: Detections) -> Floats:
    """Overlap of every pair in 0…1, shape (len(reference), len(other)).

    1. Masks on one grid: IoU of their cells; of their boxes where neither covers any.
    2. Corners: IoU of the rotated boxes.
    3. Keypoints: object keypoint similarity (COCO), with the reference in the place of labels:
       mean of exp(-d² / (2·area·(2σ)²)) over its visible keypoints, area 0.53 of its box; over all
       of them if none is visible.
    4. Else IoU of the upright boxes.
    """
    boxes, other_boxes = (np.asarray(d.boxes, np.float64) for d in (reference, other))
    first, second = reference.masks, other.masks
    if first is not None and second is not None and first.grid == second.grid:
        nothing = (first.areas == 0)[:, None] & (second.areas == 0)
        shared = mask_iou(first.arrays(), second.arrays())
        return np.where(nothing, iou_matrix(boxes, other_boxes), shared)
    if reference.corners is not None and other.corners is not None:
        return rotated_iou(reference.corners, other.corners)
    points, others = reference.keypoints, other.keypoints
    if points is not None and others is not None and points.shape[1:] == others.shape[1:]:
        return keypoint_similarity(points, reference.boxes, others)
    return iou_matrix(boxes, other_boxes)


def mask_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Floats:
    """IoU of every pair of masks, shapes (n, h, w) and (m, h, w) to (n, m); empty ones have 0."""
    one = first.reshape(len(first), -1).astype(np.float32)
    two = second.reshape(len(second), -1).astype(np.float32)
    shared = (one @ two.T).astype(np.float64)
    union = one.sum(axis=1)[:, None] + two.sum(axis=1)[None, :] - shared
    iou: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def rotated_iou(first: Floats, second: Floats) -> Floats:
    """IoU of every pair of convex quadrilaterals, shapes (n, 4, 2) and (m, 4, 2) to (n, m)."""
    one, two = (_anticlockwise(np.asarray(c, np.float64)) for c in (first, second))
    areas = (np.array([_area(q) for q in quads]) for quads in (one, two))
    of_first, of_second = areas
    result = np.zeros((len(one), len(two)))
    touching = iou_matrix(upright(one), upright(two)) > 0
    for i, j in zip(*np.nonzero(touching), strict=True):
        shared = _area(_clipped(one[i], two[j]))
        union = of_first[i] + of_second[j] - shared
        result[i, j] = shared / union if union > 0 else 0.0
    return result


def keypoint_similarity(reference: Floats, boxes: Floats, other: Floats) -> Floats:
    """Object keypoint similarity, shapes (n, K, 3), (n, 4) and (m, K, 3) to (n, m)."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).astype(np.float64)
    area = np.maximum(AREA_OF_BOX * sides.prod(axis=1), np.finfo(float).tiny)
    counts = seen(reference)
    variance = np.square(2 * oks_sigmas(reference.shape[1]))
    difference = reference[:, None, :, :2].astype(np.float64) - other[None, :, :, :2]
    distance = np.square(difference).sum(axis=-1)
    similar = np.exp(-distance / (2 * area[:, None, None] * variance))
    result: Floats = (similar * counts[:, None]).sum(axis=-1) / counts.sum(axis=1)[:, None]
    return result


def seen(keypoints: Floats) -> NDArray[np.bool_]:
    """Which keypoints are visible, shape (n, K, 3) to (n, K); all where none is."""
    visible = keypoints[..., 2] >= _SEEN
    return visible | ~visible.any(axis=-1, keepdims=True)


def oks_sigmas(points: int) -> NDArray[np.float64]:
    """COCO's for its 17 keypoints of people; 1/K each for others (as Ultralytics)."""
    if points == len(_COCO_SIGMAS):
        return _COCO_SIGMAS
    return np.full(points, 1 / max(points, 1))


def _clipped(polygon: Floats, window: Floats) -> Floats:
    """A polygon cut by each side of a convex one in turn (Sutherland & Hodgman 1974)."""
    for start, end in zip(window, np.roll(window, -1, axis=0), strict=True):
        side = end - start
        depth = side[0] * (polygon[:, 1] - start[1]) - side[1] * (polygon[:, 0] - start[0])
        kept = []
        for k in range(len(polygon)):
            a, b = depth[k - 1], depth[k]
            if (a < 0) != (b < 0):
                kept.append(polygon[k - 1] + (polygon[k] - polygon[k - 1]) * (a / (a - b)))
            if b >= 0:
                kept.append(polygon[k])
        if not kept:
            return np.zeros((0, 2))
        polygon = np.array(kept)
    return polygon


def _signed_area(polygon: Floats) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _area(polygon: Floats) -> float:
    return abs(_signed_area(polygon - polygon[0])) if len(polygon) else 0.0


def _anticlockwise(corners: Floats) -> Floats:
    if not len(corners):
        return corners.reshape(0, 4, 2)
    return np.stack([q if _signed_area(q) >= 0 else q[::-1] for q in corners])
