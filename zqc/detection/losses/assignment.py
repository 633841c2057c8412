"""Which candidates answer for which labels, by the predictions of the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import iou_matrix
from zqc.detection.losses.candidates import Places

_BEST = 10
"""Candidates of a label."""

_SCORE_POWER, _IOU_POWER = 0.5, 6.0
_TINY = 1e-9

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Objects:
    """What is to be found in a picture.

    Attributes:
        boxes: (x1, y1, x2, y2) in input pixels, (M, 4).
        classes: Index of the class, (M,).
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)

    def mirrored(self, width: int) -> Objects:
        """The same in the mirror image of a picture that is so many pixels wide."""
        turned = np.concatenate([width - self.boxes[:, [2, 0]], self.boxes[:, [1, 3]]], axis=1)
        return Objects(turned[:, [0, 2, 1, 3]].astype(np.float32), self.classes)

    def inside(self, height: int, width: int) -> Objects:
        """What of them lies in a picture of so many pixels."""
        boxes = np.clip(self.boxes, 0, np.array([width, height] * 2, np.float32))
        left = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        return Objects(boxes[left].astype(np.float32), self.classes[left])


@dataclass(frozen=True, eq=False)
class Assignment:
    """What the candidates of a picture are to predict.

    Attributes:
        owner: Index of the object that a candidate answers for, -1 for none, (A,).
        target: How much it is to be one, and how much its box counts, in 0…1, (A,).
        counted: How much its objectness counts, or its classes where it has none, (A,).
    """

    owner: NDArray[np.int64]
    target: NDArray[np.float32]
    counted: NDArray[np.float32]

    @classmethod
    def empty(cls, candidates: int) -> Assignment:
        """Of a picture with nothing in it."""
        none, ones = np.zeros(candidates, np.float32), np.ones(candidates, np.float32)
        return cls(np.full(candidates, -1, np.int64), none, ones)

    @classmethod
    def ignoring(cls, candidates: int) -> Assignment:
        """Of a picture that counts nothing."""
        none = np.zeros(candidates, np.float32)
        return cls(np.full(candidates, -1, np.int64), none, none)


def task_aligned(boxes: Floats, scores: Floats, objects: Objects, places: Places) -> Assignment:
    """The ten candidates inside of each object whose predictions fit it best.

    The fit is score^½ · IoU⁶, of the object's class. A target is the fit, scaled so that the best
    of an object has its best IoU (Feng et al., TOOD: Task-aligned One-stage Object Detection, ICCV
    2021, section 3, with the numbers of Ultralytics). A candidate of several objects goes to the
    one that it overlaps most.

    Args:
        boxes: Predicted, (x1, y1, x2, y2) in pixels, (A, 4).
        scores: Predicted, in 0…1, (A, C).
        objects: What is there.
        places: Where the candidates stand.
    """
    if not len(objects):
        return Assignment.empty(len(boxes))
    points = places.points
    low, high = objects.boxes[:, None, :2], objects.boxes[:, None, 2:]
    inside = ((points > low) & (points < high)).all(axis=-1)
    overlap = iou_matrix(objects.boxes.astype(np.float64), boxes.astype(np.float64)) * inside
    likely = scores.T[objects.classes].astype(np.float64)
    fit = likely**_SCORE_POWER * overlap**_IOU_POWER
    best = np.argsort(-fit, axis=1, kind="stable")[:, :_BEST]
    chosen = np.zeros_like(inside)
    np.put_along_axis(chosen, best, True, axis=1)
    chosen &= inside
    owner = np.where(chosen, overlap, -1.0).argmax(axis=0)
    chosen &= owner == np.arange(len(objects))[:, None]
    fit = fit * chosen
    most = (overlap * chosen).max(axis=1, keepdims=True)
    target = (fit * most / (fit.max(axis=1, keepdims=True) + _TINY)).max(axis=0)
    taken = chosen.any(axis=0)
    return Assignment(
        np.where(taken, owner, -1).astype(np.int64),
        target.astype(np.float32),
        np.ones(len(boxes), np.float32),
    )


def by_anchors(boxes: Floats, scores: Floats, objects: Objects, places: Places) -> Assignment:
    """The anchor of each object's shape in the cell of its centre.

    The shape is judged by the IoU of two boxes with one centre. Whether there is an object does not
    count where another candidate overlaps one by more than a half (Redmon & Farhadi, YOLOv3, 2018,
    section 2.1). Where two objects have the same anchor, the later one has it.

    Args: See ``task_aligned``.
    """
    del scores
    if not len(objects):
        return Assignment.empty(len(boxes))
    assert places.anchors is not None
    sizes = objects.boxes[:, 2:] - objects.boxes[:, :2]
    centres = (objects.boxes[:, 2:] + objects.boxes[:, :2]) / 2
    shared = np.minimum(sizes[:, None], places.anchors[None]).prod(axis=-1)
    areas = sizes.prod(axis=-1)[:, None] + places.anchors.prod(axis=-1)[None] - shared
    shape = shared / areas
    corner = places.points[None]
    within = (centres[:, None] >= corner) & (centres[:, None] < corner + places.strides[None])
    best = np.where(within.all(axis=-1), shape, -1.0).argmax(axis=1)
    owner = np.full(len(boxes), -1, np.int64)
    owner[best] = np.arange(len(objects))
    near = iou_matrix(boxes.astype(np.float64), objects.boxes.astype(np.float64)).max(axis=1)
    taken = owner >= 0
    return Assignment(owner, taken.astype(np.float32), (taken | (near <= 0.5)).astype(np.float32))
