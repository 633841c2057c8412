"""From the outputs of a network of the zoo to what it has detected."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import corners_from_centres
from zqc.detection.detections import Detections
from zqc.detection.nms import select

Outputs = Mapping[str, NDArray[np.floating]]
Decode = Callable[[Outputs, int], Detections]
"""Takes the outputs of one picture, with the batch axis, and the size of the input in pixels."""

BEST = 100


def sigmoid_queries(outputs: Outputs, size: int) -> Detections:
    """RT-DETR and D-FINE: each class of each query has a score of its own."""
    logits = np.asarray(outputs["logits"][0], np.float64)
    return _best_pairs(1 / (1 + np.exp(-logits)), outputs, size)


def softmax_queries(outputs: Outputs, size: int) -> Detections:
    """DETR and YOLOS: the classes of a query compete, and the last one is the background."""
    logits = np.asarray(outputs["logits"][0], np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return _best_pairs((powers / powers.sum(axis=1, keepdims=True))[:, :-1], outputs, size)


def chosen(outputs: Outputs, size: int) -> Detections:  # noqa: ARG001 - boxes are in pixels
    """Torchvision's: they have been chosen in the graph."""
    order = np.argsort(-outputs["scores"], kind="stable")[:BEST]
    return Detections(outputs["boxes"][order], outputs["scores"][order], outputs["labels"][order])


def rows(outputs: Outputs, size: int) -> Detections:  # noqa: ARG001 - boxes are in pixels
    """YOLOv10 and YOLO26: rows of x1, y1, x2, y2, score, label, chosen in the graph."""
    found = np.asarray(outputs["output0"][0], np.float64)
    order = np.argsort(-found[:, 4], kind="stable")[:BEST]
    return Detections(found[order, :4], found[order, 4], found[order, 5].astype(np.int64))


def columns(outputs: Outputs, size: int) -> Detections:  # noqa: ARG001 - boxes are in pixels
    """YOLOv8 and its relatives: x, y, width, height and the scores of classes, N x (4 + C) x A."""
    found = np.asarray(outputs["output0"][0], np.float64).T
    return select(corners_from_centres(found[:, :4]), found[:, 4:])


def corners(outputs: Outputs, size: int) -> Detections:  # noqa: ARG001 - boxes are in pixels
    """RTMDet and PP-YOLOE: boxes N x A x 4 and scores, N x A x C or N x C x A."""
    boxes, scores = outputs["boxes"][0], outputs["scores"][0]
    return select(boxes, scores if len(scores) == len(boxes) else scores.T)


def _best_pairs(scores: NDArray[np.floating], outputs: Outputs, size: int) -> Detections:
    """The best pairs of a query and a class; nothing is suppressed."""
    best = np.argsort(-scores.reshape(-1), kind="stable")[:BEST]
    places, labels = np.divmod(best, scores.shape[1])
    boxes = np.asarray(outputs["pred_boxes"][0], np.float64)[places] * size
    return Detections(corners_from_centres(boxes), scores[places, labels], labels)


DECODERS: dict[str, Decode] = {
    each.__name__: each
    for each in (sigmoid_queries, softmax_queries, chosen, rows, columns, corners)
}
"""By name."""
