"""Regions of a map: connected pixels, and the smallest rectangle around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def connected(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """The connected regions of a map; pixels that touch at a corner are connected.

    Args:
        mask: Which pixels belong to any, shape (h, w).

    Returns:
        Of each region, in the order of their first rows, the ends of its runs along the rows:
        (x, y) of pixels, shape (n, 2). They have the region's convex hull.
    """
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1] - 1
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    bounds = np.searchsorted(rows, np.arange(mask.shape[0] + 1))
    for row in range(1, mask.shape[0]):
        above, below = int(bounds[row - 1]), int(bounds[row])
        stop = int(bounds[row + 1])
        one, other = above, below
        while one < int(bounds[row]) and other < stop:
            if starts[one] <= ends[other] + 1 and starts[other] <= ends[one] + 1:
                first, second = sorted((root(one), root(other)))
                parent[second] = first
            if ends[one] < ends[other]:
                one += 1
            else:
                other += 1
    regions: dict[int, list[int]] = {}
    for run in range(len(rows)):
        regions.setdefault(root(run), []).append(run)
    return [
        np.concatenate([np.stack([x[runs], rows[runs]], axis=1) for x in (starts, ends)])
        for runs in regions.values()
    ]


def smallest_rectangle(points: NDArray[np.integer]) -> tuple[NDArray[np.float64], float, float]:
    """The rectangle of the least area around some points; a side of it lies on their hull.

    Args:
        points: (x, y), shape (n, 2), at least one.

    Returns:
        Its corners in order, shape (4, 2), and the lengths of the first and the second side.
    """
    hull = _hull(points).astype(np.float64)
    sides = np.roll(hull, -1, axis=0) - hull
    lengths = np.hypot(*sides.T)
    along = sides[lengths > 0] / lengths[lengths > 0, None]
    if not len(along):
        along = np.array([[1.0, 0.0]])
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    places = np.stack([hull @ along.T, hull @ across.T])  # (2, points, directions)
    low, high = places.min(axis=1), places.max(axis=1)
    best = int(np.argmin(np.prod(high - low, axis=0)))
    axes = np.stack([along[best], across[best]])
    (x1, y1), (x2, y2) = low[:, best], high[:, best]
    corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) @ axes
    return corners, float(x2 - x1), float(y2 - y1)


def grown(corners: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """A rectangle, with corners in order, whose sides are each moved outwards by a distance."""
    moves = np.zeros((4, 2))
    for side, signs in (
        (corners[1] - corners[0], (-1, 1, 1, -1)),
        (corners[3] - corners[0], (-1, -1, 1, 1)),
    ):
        length = float(np.hypot(*side))
        if length:
            moves += np.outer(signs, side / length)
    return corners + distance * moves


def mean_inside(values: NDArray[np.floating], corners: NDArray[np.float64]) -> float:
    """The mean of a map over a rectangle, drawn in whole pixels with its outline.

    Args:
        values: Shape (h, w).
        corners: (x, y) in order, shape (4, 2).

    Returns:
        0 where it is outside of the map.
    """
    height, width = values.shape
    corners = np.round(corners)
    low = np.maximum(corners.min(axis=0), 0).astype(int)
    high = np.minimum(corners.max(axis=0), (width - 1, height - 1)).astype(int)
    if (high < low).any():
        return 0.0
    part = values[low[1] : high[1] + 1, low[0] : high[0] + 1]
    y, x = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    inside = np.ones(part.shape, bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        dx, dy = end - start
        inside &= dx * (y - start[1]) - dy * (x - start[0]) >= -0.5 * max(abs(dx), abs(dy))
    return float(part[inside].mean()) if inside.any() else 0.0


def _hull(points: NDArray[np.integer]) -> NDArray[np.integer]:
    """The convex hull, counter-clockwise with y up (Andrew, 1979)."""
    ordered = np.unique(points, axis=0).tolist()
    if len(ordered) < 3:
        return np.array(ordered)

    def half(sequence: list[list[int]]) -> list[list[int]]:
        chain: list[list[int]] = []
        for x, y in sequence:
            while len(chain) > 1:
                (x1, y1), (x2, y2) = chain[-2:]
                if (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > 0:
                    break
                chain.pop()
            chain.append([x, y])
        return chain[:-1]

    return np.array(half(ordered) + half(ordered[::-1]))
