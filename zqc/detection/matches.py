"""Which detections are right, kept so that AP can be computed again with pictures weighted.

COCO matches detections to labels picture by picture; only the curve of precision and recall brings
pictures together. So the matches are found once, and the AP of any sample of the pictures comes
from how often each was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zqc.detection.coco_evaluation import IOU_THRESHOLDS, RECALLS, CocoEvaluation
from zqc.detection.detections import Detections
from zqc.detection.labels.labels import Truth

_LARGEST = 1e10  # square pixels
_CELLS = 2**22  # numbers in memory at a time, per array


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """The detections of one class in all pictures, best score first, and the labels.

    Attributes:
        pictures: The picture of each detection, shape (D,).
        right: Whether it finds a label, by IoU threshold, shape (T, D).
        ignored: Whether it does not count, since it finds a crowd, shape (T, D).
        labels: Number of labels that count in each picture, shape (P,).
    """

    pictures: NDArray[np.int64]
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Matches:
    """The matches of all classes.

    Attributes:
        pictures: Number of pictures.
        classes: Of each class that has labels, in the order of the evaluation.
    """

    pictures: int
    classes: tuple[ClassMatches, ...]

    def average_precision(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """AP by IoU threshold of samples of the pictures, NaN where a sample has no label.

        Args:
            weights: How often each picture is in each sample, shape (samples, pictures).

        Returns:
            The mean over the classes that have labels in the sample, shape (samples, T).
        """
        total = np.zeros((len(weights), len(IOU_THRESHOLDS)))
        counted = np.zeros((len(weights), 1))
        for one in self.classes:
            step = max(1, _CELLS // max(1, len(one.pictures)))
            for start in range(0, len(weights), step):
                part = weights[start : start + step]
                values, there = _average_precision(one, part)
                total[start : start + step] += values
                counted[start : start + step] += there[:, None]
        with np.errstate(invalid="ignore"):
            mean: NDArray[np.float64] = total / counted
        return mean


def matches_of(
    evaluation: CocoEvaluation, truth: Sequence[Truth], detections: Sequence[Detections]
) -> Matches:
    """Match detections to labels as COCO does, at every IoU threshold, for objects of any size.

    Args:
        evaluation: The overlaps, of the same labels and detections.
        truth: The labelled boxes of each picture.
        detections: What was found in the same pictures.
    """
    return Matches(
        len(truth),
        tuple(_class_matches(evaluation, label, truth, detections) for label in evaluation.classes),
    )


def _class_matches(
    evaluation: CocoEvaluation,
    label: int,
    truth: Sequence[Truth],
    detections: Sequence[Detections],
) -> ClassMatches:
    scores, pictures, right, ignored = [], [], [], []
    labels = np.zeros(len(truth), np.int64)
    for index, (labelled, found) in enumerate(zip(truth, detections, strict=True)):
        of_class = labelled.labels == label
        crowd = labelled.crowd[of_class]
        ignore = crowd.copy()
        if evaluation.kind == "keypoints" and labelled.keypoints is not None:
            ignore |= ~(labelled.keypoints[of_class][..., 2] > 0).any(axis=1)
        labels[index] = (~ignore).sum()
        mine = np.flatnonzero(found.labels == label)
        best = np.argsort(-found.scores[mine], kind="stable")[: evaluation.limit]
        own = found.scores[mine[best]].astype(np.float64)
        overlaps = evaluation.overlaps.get((index, label))
        if overlaps is None:
            overlaps = np.zeros((len(own), 0))
            crowd, ignore = crowd[:0], ignore[:0]
        hit, off = _matched(overlaps, crowd, ignore)
        if evaluation.kind == "boxes":  # what finds nothing and has no size COCO does not count
            off |= ~hit & _impossible(found.boxes[mine[best]])
        scores.append(own)
        pictures.append(np.full(len(own), index))
        right.append(hit)
        ignored.append(off)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return ClassMatches(
        np.concatenate(pictures)[order],
        np.concatenate(right, axis=1)[:, order],
        np.concatenate(ignored, axis=1)[:, order],
        labels,
    )


def _impossible(boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Boxes whose area is in none of COCO's ranges: a side is negative."""
    area = np.prod(np.asarray(boxes[:, 2:] - boxes[:, :2], np.float64), axis=1)
    impossible: NDArray[np.bool_] = (area < 0) | (area > _LARGEST)
    return impossible


def _matched(
    overlaps: NDArray[np.float64], crowd: NDArray[np.bool_], ignore: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each detection finds a label that counts, and whether one that does not.

    Each, best score first, takes the label with the greatest overlap among those left, the last of
    several; one that does not count only if no other overlaps enough. Crowds are never used up.

    Args:
        overlaps: Of each detection, best score first, with each label, shape (d, g).
        crowd: Which labels are crowds, shape (g,).
        ignore: Which labels do not count, shape (g,).

    Returns:
        Two arrays of shape (T, d).
    """
    thresholds = IOU_THRESHOLDS[:, None]
    right = np.zeros((len(IOU_THRESHOLDS), len(overlaps)), np.bool_)
    ignored = right.copy()
    free = np.ones((len(IOU_THRESHOLDS), len(crowd)), np.bool_)
    rows = np.arange(len(IOU_THRESHOLDS))
    for index in np.flatnonzero((overlaps >= IOU_THRESHOLDS[0]).any(axis=1)):
        enough = free & (overlaps[index] >= thresholds)
        counts = (enough & ~ignore).any(axis=1)
        wanted = enough & np.where(counts[:, None], ~ignore, ignore)
        values = np.where(wanted, overlaps[index], -1)[:, ::-1]
        chosen = len(crowd) - 1 - values.argmax(axis=1)
        some = wanted.any(axis=1)
        right[:, index] = some & counts
        ignored[:, index] = some & ~counts
        used = some & ~crowd[chosen]
        free[rows[used], chosen[used]] = False
    return right, ignored


def _average_precision(
    one: ClassMatches, weights: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """AP of a class, shape (samples, T), and which samples have a label of it.

    A picture drawn w times has each of its detections w times in a row. Precision can only rise
    within a run of right ones, and a recall is first reached at a right one; so it is enough to
    look at the end of the run of each right detection.
    """
    labels = weights @ one.labels
    there = labels > 0
    result = np.zeros((len(weights), len(one.right)))
    if not there.any() or not one.right.any():
        return result, there
    drawn = weights[:, one.pictures]
    seen = drawn.cumsum(axis=1)
    reached = _recalls_reached(labels)
    rows = np.arange(len(weights))[:, None]
    for index, (right, ignored) in enumerate(zip(one.right, one.ignored, strict=True)):
        places, left_out = np.flatnonzero(right), np.flatnonzero(ignored)
        if not len(places):
            continue
        hits = drawn[:, places].cumsum(axis=1)
        counted = seen[:, places]
        if len(left_out):
            before = np.searchsorted(left_out, places)
            off = np.pad(drawn[:, left_out].cumsum(axis=1), ((0, 0), (1, 0)))
            counted -= off[:, before]
        precision = hits / np.maximum(counted, 1)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        steps = np.diff(reached[rows, hits], axis=1, prepend=0)
        result[:, index] = np.einsum("st,st->s", best, steps) / len(RECALLS)
    return result * there[:, None], there


def _recalls_reached(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the 101 recalls are reached with so many right ones, by sample."""
    table = np.arange(int(labels.max()) + 1)[None, :] / np.maximum(labels, 1)[:, None]
    return np.searchsorted(RECALLS, table, side="right")
