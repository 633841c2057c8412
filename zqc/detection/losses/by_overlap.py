"""Which anchors answer for which labels, by how much they overlap them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import corners_from_centres, iou_matrix
from zqc.detection.losses.assignment import Assignment, Floats, Objects
from zqc.detection.losses.candidates import Places

_ENOUGH = 0.5
"""An anchor answers for an object from this IoU on."""

_FREE = 0.4
"""Below this IoU with all objects an anchor of a RetinaNet has nothing to find."""

_NEGATIVES = 3
"""Anchors with nothing to find that count in an SSD, for each that has something."""


def hardest(boxes: Floats, scores: Floats, objects: Objects, places: Places) -> Assignment:
    """Anchors that overlap an object by a half, the best of each, and the hardest of the others.

    Of the anchors with nothing to find three times as many count, those with the largest sum of
    scores, which have the largest loss (Liu et al., SSD, section 2.2). Where there is no object
    three count, as in the TensorFlow Object Detection API.

    Args: See ``assignment.task_aligned``.
    """
    del boxes
    owner, _ = _owners(objects, places)
    taken = owner >= 0
    hard = np.where(taken, -np.inf, scores.sum(axis=1))
    chosen = np.argsort(-hard, kind="stable")[: _NEGATIVES * max(int(taken.sum()), 1)]
    counted = taken.copy()
    counted[chosen] = True
    return Assignment(owner, taken.astype(np.float32), counted.astype(np.float32))


def free_or_taken(boxes: Floats, scores: Floats, objects: Objects, places: Places) -> Assignment:
    """Anchors that overlap an object by a half, and the best of each.

    Of the others those that overlap none by 0.4 have nothing to find, and the rest do not count
    (Lin et al., Focal Loss, section 4). The best anchor of each object is torchvision's and
    EfficientDet's addition: it leaves no object without one.

    Args: See ``assignment.task_aligned``.
    """
    del boxes, scores
    owner, most = _owners(objects, places)
    taken = owner >= 0
    counted = taken | (most < _FREE)
    return Assignment(owner, taken.astype(np.float32), counted.astype(np.float32))


def _owners(objects: Objects, places: Places) -> tuple[NDArray[np.int64], Floats]:
    """The object of each anchor, -1 for none, and its largest IoU with any, both (A,).

    That is the one that it overlaps most, if by a half. The best anchor of each object is the
    object's in any case; where two objects have the same, the one that it overlaps more has it.
    """
    assert places.anchors is not None
    count = len(places.points)
    if not len(objects):
        return np.full(count, -1, np.int64), np.zeros(count)
    anchors = corners_from_centres(np.concatenate([places.points, places.anchors], axis=1))
    overlap = iou_matrix(objects.boxes.astype(np.float64), anchors.astype(np.float64))
    most = overlap.max(axis=0)
    owner = np.where(most >= _ENOUGH, overlap.argmax(axis=0), -1)
    best = overlap.argmax(axis=1)
    for index in np.argsort(overlap[np.arange(len(objects)), best], kind="stable"):
        owner[best[index]] = index
    return owner.astype(np.int64), most
