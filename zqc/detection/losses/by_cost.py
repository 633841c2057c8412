"""Which candidates answer for which labels, by what each would cost: YOLOX's SimOTA."""

from __future__ import annotations

import numpy as np

from zqc.detection.boxes import iou_matrix
from zqc.detection.losses.assignment import Assignment, Floats, Objects
from zqc.detection.losses.candidates import Places

_RADIUS = 2.5
"""How far from the middle of an object a cell is near, in strides."""

_OVERLAPS = 10
"""Overlaps whose sum is how many candidates an object has."""

_IOU, _FAR = 3.0, 1e5
"""What −log IoU costs, and what is not both near and in the box."""

_TINY = 1e-8


def by_cost(boxes: Floats, scores: Floats, objects: Objects, places: Places) -> Assignment:
    """The cheapest candidates of each object, as many as its ten largest overlaps sum up to.

    A candidate costs the cross entropy of the roots of its scores and 3 times −log IoU. It is in
    the box or near its middle, and those that are both come first. One of several objects goes to
    that which it costs least for (Ge et al., YOLOX, 2021, section 2.3, with the numbers of its
    code).

    Args: See ``assignment.task_aligned``.
    """
    if not len(objects):
        return Assignment.empty(len(boxes))
    points, strides = places.points[None], places.strides[None]
    low, high = objects.boxes[:, None, :2], objects.boxes[:, None, 2:]
    inside = ((points > low) & (points < high)).all(axis=-1)
    near = (np.abs(points - (low + high) / 2) < _RADIUS * strides).all(axis=-1)
    possible = (inside | near).any(axis=0)
    overlap = iou_matrix(objects.boxes.astype(np.float64), boxes.astype(np.float64)) * possible
    likely = np.sqrt(np.clip(scores.astype(np.float64), _TINY, 1 - _TINY))
    none = -np.log1p(-likely)
    turned = (-np.log(likely) - none).T[objects.classes]  # from having no class to having this one
    cost = none.sum(axis=1)[None] + turned - _IOU * np.log(overlap + _TINY)
    cost += _FAR * ~(inside & near)
    cost[:, ~possible] = np.inf
    most = np.sort(overlap, axis=1)[:, -_OVERLAPS:].sum(axis=1).astype(int).clip(1)
    rank = np.argsort(np.argsort(cost, axis=1, kind="stable"), axis=1, kind="stable")
    chosen = (rank < most[:, None]) & possible
    taken = chosen.any(axis=0)
    owner = np.where(taken, np.where(chosen, cost, np.inf).argmin(axis=0), -1)
    return Assignment(
        owner.astype(np.int64), taken.astype(np.float32), np.ones(len(boxes), np.float32)
    )
