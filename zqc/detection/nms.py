"""Non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zqc.detection.boxes import iou_matrix
from zqc.detection.detections import Detections

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Overlap = Callable[[NDArray[np.floating], NDArray[np.floating]], NDArray[np.floating]]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How detections are chosen among candidates.

    The defaults are those customary for measuring AP: nearly every candidate counts, since the
    precision-recall curve needs the low scores too.

    Attributes:
        score_threshold: Candidates need a greater score.
        iou_threshold: A candidate is dropped when it overlaps a better one of its class by more.
        candidates: Only so many candidates with the highest scores enter, per picture.
        detections: Only so many detections are kept, per picture.
    """

    score_threshold: float = 0.001
    iou_threshold: float = 0.6
    candidates: int = 3000
    detections: int = 300


DEFAULT_SELECTION = Selection()


def select(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    selection: Selection = DEFAULT_SELECTION,
) -> Detections:
    """Choose the detections of one picture; a box may be kept for several classes.

    Args:
        boxes: (x1, y1, x2, y2), shape (n, 4).
        scores: Shape (n, classes).
        selection: The thresholds and limits.
    """
    rows, labels = choose(boxes, scores, selection)
    return Detections(boxes[rows], scores[rows, labels], labels)


def choose(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    selection: Selection = DEFAULT_SELECTION,
    overlap: Overlap = iou_matrix,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Say which candidates of one picture are its detections, and of which class, best first.

    Args:
        boxes: Anything with an overlap, one in a row, shape (n, …).
        scores: Shape (n, classes).
        selection: The thresholds and limits.
        overlap: The overlap of every pair.

    Returns:
        Indices of candidates and of classes, each of shape (k,).
    """
    flat = scores.reshape(-1)
    chosen = np.flatnonzero(flat > selection.score_threshold)
    # Stable sorting makes equal scores fall out the same way on every machine.
    order = chosen[np.argsort(-flat[chosen], kind="stable")[: selection.candidates]]
    rows, labels = np.divmod(order, scores.shape[1])
    kept = suppress(boxes[rows], labels, selection.iou_threshold, selection.detections, overlap)
    return rows[kept], labels[kept].astype(np.int64)


def suppress(
    boxes: NDArray[np.floating],
    labels: NDArray[np.integer],
    iou_threshold: float,
    limit: int,
    overlap: Overlap = iou_matrix,
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression within each class.

    Args:
        boxes: (x1, y1, x2, y2), or what else ``overlap`` takes, best first, shape (n, 4).
        labels: Class of each box, shape (n,).
        iou_threshold: A box is dropped when it overlaps a kept one of its class by more.
        limit: Stop after so many kept boxes.
        overlap: The overlap of every pair of two sets of boxes.

    Returns:
        Indices of the kept boxes, ascending; at most ``limit``.
    """
    remaining = np.arange(len(boxes))
    kept: list[int] = []
    while len(remaining) and len(kept) < limit:
        best = remaining[0]
        kept.append(int(best))
        rest = remaining[1:]
        shared = overlap(boxes[best][None], boxes[rest])[0]
        remaining = rest[(shared <= iou_threshold) | (labels[rest] != labels[best])]
    return np.array(kept, np.int64)
