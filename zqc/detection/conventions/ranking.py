"""Detections that are not to be suppressed: chosen in the graph already, or matched as a set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zqc.detection.detections import Detections
from zqc.detection.nms import Selection


def chosen(
    boxes: NDArray[np.generic],
    scores: NDArray[np.generic],
    labels: NDArray[np.generic],
    selection: Selection,
) -> Detections:
    """What a graph has chosen, best first.

    Args:
        boxes: (x1, y1, x2, y2) in pixels, shape (n, 4).
        scores: Shape (n).
        labels: Shape (n); one below zero is no detection.
        selection: Its threshold of scores and its limit count, the rest does not.
    """
    numbers = np.asarray(scores, np.float32)
    names = np.asarray(labels).astype(np.int64)
    order = ranked(np.where(names >= 0, numbers, -np.inf), selection)
    return Detections(np.asarray(boxes, np.float32)[order], numbers[order], names[order])


def best_pairs(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], selection: Selection
) -> Detections:
    """The best pairs of a box and a class, none suppressed.

    Args:
        boxes: (x1, y1, x2, y2) in pixels, shape (n, 4).
        scores: Shape (n, classes).
        selection: Its threshold of scores and its limit count, the rest does not.
    """
    places, labels = np.divmod(np.arange(scores.size), scores.shape[1])
    return chosen(boxes[places], scores.reshape(-1), labels, selection)


def ranked(scores: NDArray[np.floating], selection: Selection) -> NDArray[np.int64]:
    """Indices of the scores above the threshold, the best first, and no more than the limit."""
    kept = np.flatnonzero(scores > selection.score_threshold)
    return kept[np.argsort(-scores[kept], kind="stable")[: selection.detections]]
