"""Boxes as arrays: conversions, overlap, and the way back to the picture.

Unless said otherwise a box is (x1, y1, x2, y2) with x to the right and y down; the last axis of
an array of boxes has 4 entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zqc.pictures.images import PicturePlacement

    Floats = NDArray[np.floating]


def corners_from_centres(boxes: Floats) -> Floats:
    """Turn (centre x, centre y, width, height) into (x1, y1, x2, y2)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def centres_from_corners(boxes: Floats) -> Floats:
    """Turn (x1, y1, x2, y2) into (centre x, centre y, width, height)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def iou_matrix(first: Floats, second: Floats) -> Floats:
    """Intersection over union of every pair, shape (len(first), len(second)).

    Boxes without area have IoU 0 with everything.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=-1)
    union = _area(first)[:, None] + _area(second)[None, :] - overlap
    iou: Floats = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou


def generalized_iou_matrix(first: Floats, second: Floats) -> Floats:
    """GIoU of every pair, in −1…1, shape (len(first), len(second)).

    The IoU less the share of the hull of both that neither fills (Rezatofighi et al., Generalized
    Intersection over Union, CVPR 2019).
    """
    low = np.minimum(first[:, None, :2], second[None, :, :2])
    high = np.maximum(first[:, None, 2:], second[None, :, 2:])
    hull = np.prod(high - low, axis=-1)
    iou = iou_matrix(first, second)
    areas = _area(first)[:, None] + _area(second)[None, :]
    union = areas / (1 + iou)  # of areas = union + intersection, and iou = intersection / union
    empty: Floats = np.divide(hull - union, hull, out=np.zeros_like(hull), where=hull > 0)
    return iou - empty


def clip(boxes: Floats, height: float, width: float) -> Floats:
    """Cut boxes at the borders of a picture."""
    return np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))


def to_picture(boxes: Floats, placement: PicturePlacement) -> Floats:
    """Map boxes from input pixels back to pixels of the original picture, cut at its borders."""
    offset = np.array([placement.left, placement.top] * 2, boxes.dtype)
    scale = np.array([placement.scale_x, placement.scale_y] * 2, boxes.dtype)
    return clip((boxes - offset) / scale, placement.height, placement.width)


def _area(boxes: Floats) -> Floats:
    area: Floats = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=-1)
    return area
