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
_CELLS = 2**18  # numbers in an array at a time, so that it stays in the cache


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
        narrow = weights.astype(np.int32)
        total = np.zeros((len(weights), len(IOU_THRESHOLDS)))
        counted = np.zeros((len(weights), 1))
        for one in self.classes:
            step = max(1, _CELLS // max(1, len(one.pictures)))
            for start in range(0, len(weights), step):
                part = narrow[start : start + step]
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
    found: dict[int, list[_InPicture]] = {label: [] for label in evaluation.classes}
    counts = {label: np.zeros(len(truth), np.int64) for label in evaluation.classes}
    for index, (labelled, detected) in enumerate(zip(truth, detections, strict=True)):
        for label in np.unique(labelled.labels).tolist():
            ignore = _ignored(labelled, labelled.labels == label, evaluation)
            counts[label][index] = (~ignore).sum()
        order = np.argsort(-detected.scores, kind="stable")
        impossible = _impossible(detected.boxes) & (evaluation.kind == "boxes")
        own = detected.labels[order]
        for label in np.unique(own).tolist():
            if label in found:
                best = order[own == label][: evaluation.limit]
                right, ignored = _judged(evaluation, label, index, labelled, len(best))
                ignored |= ~right & impossible[best]
                scores = detected.scores[best].astype(np.float64)
                found[label].append(_InPicture(index, scores, right, ignored))
    return Matches(
        len(truth),
        tuple(_of_class(found[label], counts[label]) for label in evaluation.classes),
    )


@dataclass(frozen=True, eq=False)
class _InPicture:
    """The detections of one class in one picture, best score first."""

    picture: int
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]


def _judged(
    evaluation: CocoEvaluation, label: int, index: int, labelled: Truth, count: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """``_matched`` for one class in one picture with so many detections of it."""
    overlaps = evaluation.overlaps.get((index, label))
    if overlaps is None:
        nothing = np.zeros((2, len(IOU_THRESHOLDS), count), np.bool_)
        return nothing[0], nothing[1]
    of_class = labelled.labels == label
    ignore = _ignored(labelled, of_class, evaluation)
    return _matched(overlaps, labelled.crowd[of_class], ignore)


def _ignored(
    labelled: Truth, which: NDArray[np.bool_], evaluation: CocoEvaluation
) -> NDArray[np.bool_]:
    """Which of some labels do not count: crowds, and poses without a labelled keypoint."""
    ignore = labelled.crowd[which]
    if evaluation.kind == "keypoints" and labelled.keypoints is not None:
        return ignore | ~(labelled.keypoints[which][..., 2] > 0).any(axis=1)
    return ignore


def _of_class(found: Sequence[_InPicture], labels: NDArray[np.int64]) -> ClassMatches:
    thresholds = len(IOU_THRESHOLDS)
    nothing = _InPicture(0, np.zeros(0), *[np.zeros((thresholds, 0), np.bool_)] * 2)
    every = [nothing, *found]
    order = np.argsort(-np.concatenate([one.scores for one in every]), kind="stable")
    return ClassMatches(
        np.concatenate([np.full(len(one.scores), one.picture) for one in every])[order],
        np.concatenate([one.right for one in every], axis=1)[:, order],
        np.concatenate([one.ignored for one in every], axis=1)[:, order],
        labels,
    )


def _impossible(boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Boxes whose area is in none of COCO's ranges, as with a negative side.

    Where they find nothing, COCO does not count them.
    """
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
    one: ClassMatches, weights: NDArray[np.int32]
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
    seen = drawn.cumsum(axis=1, dtype=np.int32)
    reached = _recalls_reached(labels)
    rows = np.arange(len(weights))[:, None]
    for index, (right, ignored) in enumerate(zip(one.right, one.ignored, strict=True)):
        places, left_out = np.flatnonzero(right), np.flatnonzero(ignored)
        if not len(places):
            continue
        hits = drawn[:, places].cumsum(axis=1, dtype=np.int32)
        counted = seen[:, places]
        if len(left_out):
            before = np.searchsorted(left_out, places)
            off = np.pad(drawn[:, left_out].cumsum(axis=1, dtype=np.int32), ((0, 0), (1, 0)))
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
