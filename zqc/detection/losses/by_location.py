"""Which locations answer for which labels, by the boxes that they lie in."""

from __future__ import annotations

import numpy as np

from zqc.detection.losses.assignment import Assignment, Floats, Objects
from zqc.detection.losses.candidates import Places

_REACH = 8
"""Distances of a level, in its strides: up to this, and from half of it on."""


def by_location(
    boxes: Floats, scores: Floats, objects: Objects, places: Places, *, radius: float = np.inf
) -> Assignment:
    """Each location in a box of its level's size, the smallest of those.

    The largest distance to a side is 4 to 8 strides; on the finest level smaller ones count, too,
    and on the coarsest larger ones (Tian et al., FCOS, section 3.2).

    Args:
        boxes: See ``assignment.task_aligned``.
        scores: See there.
        objects: See there.
        places: See there.
        radius: A location is less than so many strides from the middle of the object, in x and y.
    """
    del scores
    if not len(objects):
        return Assignment.empty(len(boxes))
    points, strides = places.points[:, None], places.strides
    low, high = objects.boxes[None, :, :2], objects.boxes[None, :, 2:]
    sides = np.concatenate([points - low, high - points], axis=-1)
    reach = sides.max(axis=-1)
    least = np.where(strides == strides.min(), 0, strides * _REACH / 2)
    most = np.where(strides == strides.max(), np.inf, strides * _REACH)
    off = np.abs(points - (low + high) / 2).max(axis=-1)
    fits = (sides.min(axis=-1) > 0) & (reach >= least) & (reach <= most) & (off < radius * strides)
    area = np.prod(high - low, axis=-1)
    owner = np.where(fits.any(axis=1), np.where(fits, area, np.inf).argmin(axis=1), -1)
    return Assignment(
        owner.astype(np.int64), (owner >= 0).astype(np.float32), np.ones(len(boxes), np.float32)
    )
