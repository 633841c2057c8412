"""Rotated boxes: their corners, the upright box around them, and how much two overlap.

A rotated box is (centre x, centre y, width, height, angle); the angle is in radians and turns the x
axis towards the y axis, which points down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

_TINY = 1e-7


def corners(boxes: Floats) -> Floats:
    """Return the corners in order: shape (n, 5) becomes (n, 4, 2)."""
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    along = boxes[:, 2, None] / 2 * np.stack([cos, sin], axis=-1)
    across = boxes[:, 3, None] / 2 * np.stack([-sin, cos], axis=-1)
    ways = (along + across, along - across, -along - across, -along + across)
    found: Floats = boxes[:, None, :2] + np.stack(ways, axis=1)
    return found


def upright(points: Floats) -> Floats:
    """Return the boxes (x1, y1, x2, y2) around points: shape (n, k, 2) becomes (n, 4)."""
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=-1)


def probabilistic_iou(first: Floats, second: Floats) -> Floats:
    """Overlap of every pair of rotated boxes, shape (len(first), len(second)).

    Each box is taken for the normal distribution with its mean and covariance, and the overlap is
    1 minus the Hellinger distance of two of them (Llerena et al., Gaussian Bounding Boxes and
    Probabilistic Intersection-over-Union, 2021, section 3). It is 1 for equal boxes and falls
    smoothly to 0. Thresholds of rotated YOLOs are made for it, not for the share of areas, which
    changes by jumps where two long thin boxes turn.
    """
    a, b, c = (x + y for x, y in zip(_spread(first, 1), _spread(second, 0), strict=True))
    down = first[:, 1, None] - second[None, :, 1]
    right = first[:, 0, None] - second[None, :, 0]
    both = a * b - c**2
    apart = (a * down**2 + b * right**2 - 2 * c * right * down) / (both + _TINY) / 4
    own = np.prod(np.meshgrid(_area(first), _area(second), indexing="ij"), axis=0)
    unlike = np.log(both / (4 * np.sqrt(own) + _TINY) + _TINY) / 2
    distance = np.clip(apart + unlike, _TINY, 100)
    overlap: Floats = 1 - np.sqrt(1 - np.exp(-distance) + _TINY)
    return overlap


def _spread(boxes: Floats, axis: int) -> tuple[Floats, Floats, Floats]:
    """Covariances of the uniform distributions over boxes: of x, of y, of both."""
    wide, high = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    terms = (
        wide * cos**2 + high * sin**2,
        wide * sin**2 + high * cos**2,
        (wide - high) * cos * sin,
    )
    a, b, c = (np.expand_dims(term, axis) for term in terms)
    return a, b, c


def _area(boxes: Floats) -> Floats:
    """Determinants of the covariances: they do not depend on the angle."""
    area: Floats = (boxes[:, 2] * boxes[:, 3]) ** 2 / 144
    return area
