"""COCO average precision, against labels or against another model's detections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zqc.detection.coco_evaluation import IOU_THRESHOLDS, CocoEvaluation, Kind, Window, evaluate
from zqc.detection.detections import Detections
from zqc.detection.labels.labels import Truth
from zqc.detection.matches import Matches, matches_of
from zqc.detection.overlap import AREA_OF_BOX, seen


@dataclass(frozen=True)
class ClassAccuracy:
    """Average precision of one class.

    Attributes:
        label: The class.
        name: Its name, or its number.
        ap: Mean over IoU 0.50:0.95; NaN where all its labels are crowds.
        ap50: At IoU 0.50.
        labels: Number of labelled boxes that count.
    """

    label: int
    name: str
    ap: float
    ap50: float
    labels: int


@dataclass(frozen=True)
class Accuracy:
    """COCO average precision, each in 0…1, NaN where there is no label to measure it against.

    Attributes:
        ap: Mean over IoU 0.50:0.95.
        ap50: At IoU 0.50.
        ap75: At IoU 0.75.
        small: ``ap`` of objects below 32² pixels of the picture.
        medium: From there to 96².
        large: Above.
        classes: By class, of those that have labels.
        kind: What was compared: boxes, outlines (rotated boxes are outlines) or keypoints.
    """

    ap: float
    ap50: float
    ap75: float = math.nan
    small: float = math.nan
    medium: float = math.nan
    large: float = math.nan
    classes: tuple[ClassAccuracy, ...] = ()
    kind: Kind = "boxes"


def coco_accuracy(
    truth: Sequence[Truth],
    detections: Sequence[Detections],
    *,
    names: Mapping[int, str] | None = None,
    kind: Kind = "boxes",
    windows: Sequence[Window] | None = None,
) -> Accuracy:
    """Average precision by the rules of COCO, see ``coco_evaluation.evaluate``.

    Args:
        truth: The labelled boxes of each picture.
        detections: What was found in the same pictures, in the same pixels.
        names: Names of classes.
        kind: What is compared.
        windows: Where the grid of each picture's masks lies, if there are masks.

    Raises:
        LabelError: There is no labelled box at all, or nothing to compare.
        MissingPackageError: The package that measures it is not installed.
    """
    return _accuracy(evaluate(truth, detections, kind, windows=windows), truth, names or {})


def accuracy_and_matches(
    truth: Sequence[Truth],
    detections: Sequence[Detections],
    *,
    names: Mapping[int, str] | None = None,
    kind: Kind = "boxes",
    windows: Sequence[Window] | None = None,
) -> tuple[Accuracy, Matches]:
    """``coco_accuracy``, and what its interval is computed from (``bootstrap``).

    Raises:
        LabelError: There is no labelled box at all, or nothing to compare.
        MissingPackageError: The package that measures it is not installed.
    """
    evaluation = evaluate(truth, detections, kind, windows=windows)
    accuracy = _accuracy(evaluation, truth, names or {})
    return accuracy, matches_of(evaluation, truth, detections)


def agreement(
    reference: Sequence[Detections],
    detections: Sequence[Detections],
    score_threshold: float = 0.3,
    *,
    names: Mapping[int, str] | None = None,
    windows: Sequence[Window] | None = None,
) -> Accuracy | None:
    """Average precision with another model's confident detections in the place of labels.

    Masks and rotated boxes are compared as outlines and poses by their keypoints, the rest as
    boxes. Masks that cover nothing, as small boxes on a coarse grid may have, overlap with nothing,
    not even with themselves, so their detections are left out on both sides.

    Args:
        reference: Detections of the float model after NMS.
        detections: Detections of the quantized model in the same pictures.
        score_threshold: Detections of the reference count when their score is greater.
        names: Names of classes.
        windows: Where the grid of each picture's masks lies, if there are masks; without it what is
            small, medium and large goes by cells of the grid.

    Returns:
        None when the float model found nothing with such a score.
    """
    confident = [found.above(score_threshold) for found in reference]
    every = [found for found in (*confident, *detections) if len(found)]
    masked = _are_masks(every)
    if masked:
        confident, detections = ([_covering(d) for d in side] for side in (confident, detections))
    if not any(len(found) for found in confident):
        return None
    return coco_accuracy(
        [_truth(found, masked=masked) for found in confident],
        detections,
        names=names,
        kind="outlines" if masked else _kind(every),
        windows=windows if masked else None,
    )


def _are_masks(found: Sequence[Detections]) -> bool:
    """Whether all have masks, on one grid."""
    grids = {None if one.masks is None else one.masks.grid for one in found}
    return len(grids) == 1 and None not in grids


def _covering(found: Detections) -> Detections:
    return found if found.masks is None else found.take(found.masks.areas > 0)


def _kind(found: Sequence[Detections]) -> Kind:
    """What all of these can be compared by."""
    if all(one.corners is not None for one in found):
        return "outlines"
    return "keypoints" if all(one.keypoints is not None for one in found) else "boxes"


def _truth(found: Detections, *, masked: bool) -> Truth:
    """Detections in the place of labels; where no keypoint is seen, all count."""
    keypoints, sides = found.keypoints, found.boxes[:, 2:] - found.boxes[:, :2]
    if keypoints is not None:
        keypoints = np.concatenate([keypoints[..., :2], 2.0 * seen(keypoints)[..., None]], axis=-1)
    share = 1.0 if keypoints is None else AREA_OF_BOX
    return Truth(
        found.boxes,
        found.labels,
        np.zeros(len(found), np.bool_),
        areas=share * sides.prod(axis=1),
        corners=found.corners,
        keypoints=keypoints,
        masks=found.masks if masked else None,
    )


def _accuracy(
    evaluation: CocoEvaluation, truth: Sequence[Truth], names: Mapping[int, str]
) -> Accuracy:
    precision = evaluation.precision
    every = precision[..., 0]
    by_area = {area: _mean(precision[..., i]) for i, area in enumerate(evaluation.areas)}
    return Accuracy(
        ap=_mean(every),
        ap50=_mean(every[_at(0.5)]),
        ap75=_mean(every[_at(0.75)]),
        small=by_area.get("small", math.nan),
        medium=by_area["medium"],
        large=by_area["large"],
        classes=tuple(
            ClassAccuracy(
                label,
                names.get(label, str(label)),
                _mean(every[..., index]),
                _mean(every[_at(0.5), :, index]),
                sum(int(((t.labels == label) & ~t.crowd).sum()) for t in truth),
            )
            for index, label in enumerate(evaluation.classes)
        ),
        kind=evaluation.kind,
    )


def _at(iou: float) -> int:
    return int(np.argmin(np.abs(IOU_THRESHOLDS - iou)))


def _mean(precision: NDArray[np.float64]) -> float:
    """The mean of what is there; -1 says that there are no labels."""
    there = precision[precision > -1]
    return float(there.mean()) if len(there) else math.nan
