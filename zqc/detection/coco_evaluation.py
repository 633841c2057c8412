"""Running COCO's evaluation (faster-coco-eval) on labelled boxes and detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zqc.detection.detections import Detections
from zqc.detection.labels.labels import Outline, Truth
from zqc.detection.overlap import oks_sigmas
from zqc.errors import LabelError
from zqc.runtime import extras

Kind = Literal["boxes", "outlines", "keypoints"]
"""What is compared: upright boxes, what an object covers, or keypoints by their OKS."""

_IOU_TYPES: Mapping[Kind, str] = {"boxes": "bbox", "outlines": "segm", "keypoints": "keypoints"}

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class CocoEvaluation:
    """What COCO's evaluation found.

    Attributes:
        kind: What was compared.
        classes: The classes that have labels, ascending.
        precision: By IoU threshold, recall, class and area; -1 where there are no labels.
        areas: The names of the areas, ``all`` first.
        limit: So many detections count, per picture and class.
        overlaps: By picture and class: IoU (or OKS) of each detection, best score first, with each
            label; pairs without either are missing.
    """

    kind: Kind
    classes: tuple[int, ...]
    precision: NDArray[np.float64]
    areas: tuple[str, ...]
    limit: int
    overlaps: Mapping[tuple[int, int], NDArray[np.float64]]


def evaluate(
    truth: Sequence[Truth], detections: Sequence[Detections], kind: Kind = "boxes"
) -> CocoEvaluation:
    """Evaluate by the rules of COCO: ten IoU thresholds, 101 recalls, 100 detections (20 poses).

    Args:
        truth: The labelled boxes of each picture.
        detections: What was found in the same pictures, in the same pixels.
        kind: What is compared. Rotated boxes are outlines.

    Raises:
        LabelError: There is no labelled box at all, or the labels or the detections do not have
            what is to be compared.
        MissingPackageError: The package that measures it is not installed.
    """
    extras.require(extras.COCO, "average precision")
    from faster_coco_eval import COCO, COCOeval_faster

    _check(truth, detections, kind)
    classes = tuple(sorted({int(label) for t in truth for label in t.labels}))
    corner, frame = _frame(truth, detections) if kind == "outlines" else (np.zeros(2), (1, 1))
    labelled = [
        {"image_id": index, **one}
        for index, picture in enumerate(truth)
        for one in _labelled(picture, kind, corner, frame)
    ]
    dataset = {
        "images": [
            {"id": index, "height": frame[0], "width": frame[1]} for index in range(len(truth))
        ],
        "categories": [{"id": label, "name": str(label)} for label in classes],
        # ids from 1: COCO takes 0 for "no match"
        "annotations": [{"id": number, **one} for number, one in enumerate(labelled, start=1)],
    }
    found = [
        {"image_id": index, **one}
        for index, picture in enumerate(detections)
        for one in _found(picture, classes, kind, corner, frame)
    ]
    points = next((t.keypoints.shape[1] for t in truth if t.keypoints is not None), 0)
    reference = COCO(dataset, print_function=_say_nothing)
    evaluation = COCOeval_faster(
        reference,
        reference.loadRes(found),
        _IOU_TYPES[kind],
        print_function=_say_nothing,
        kpt_oks_sigmas=oks_sigmas(points) if kind == "keypoints" else None,
    )
    evaluation.evaluate()
    evaluation.accumulate()
    return CocoEvaluation(
        kind,
        classes,
        np.asarray(evaluation.eval["precision"])[..., -1],
        tuple(evaluation.params.areaRngLbl),
        int(evaluation.params.maxDets[-1]),
        {pair: np.asarray(iou) for pair, iou in evaluation.ious.items() if len(iou)},
    )


def _check(truth: Sequence[Truth], detections: Sequence[Detections], kind: Kind) -> None:
    if not any((~t.crowd).any() for t in truth):
        raise LabelError("there is no labelled box to measure average precision against")
    if kind == "boxes":
        return
    labelled = [t for t in truth if len(t)]
    found = [d for d in detections if len(d)]
    if kind == "keypoints":
        sizes = {None if t.keypoints is None else t.keypoints.shape[1] for t in labelled}
        sizes |= {None if d.keypoints is None else d.keypoints.shape[1] for d in found}
        if None in sizes or len(sizes) != 1:
            raise LabelError(
                "the labels and the detections do not have the same keypoints; compare boxes"
            )
    elif any(t.outlines is None and t.corners is None for t in labelled) or any(
        d.corners is None for d in found
    ):
        raise LabelError(
            "the labels and the detections do not both have outlines; compare boxes instead"
        )


def _labelled(
    picture: Truth, kind: Kind, corner: NDArray[np.floating], frame: tuple[int, int]
) -> list[dict[str, Any]]:
    boxes = _corner_and_size(picture.boxes)
    areas = [w * h for _, _, w, h in boxes] if picture.areas is None else picture.areas.tolist()
    rows: list[dict[str, Any]] = [
        {"category_id": int(label), "bbox": box, "area": area, "iscrowd": int(crowd)}
        for label, box, area, crowd in zip(picture.labels, boxes, areas, picture.crowd, strict=True)
    ]
    if kind == "outlines":
        for row, outline in zip(rows, _outlines(picture), strict=True):
            row["segmentation"] = _run_lengths(outline, corner, frame)
    elif kind == "keypoints" and picture.keypoints is not None:
        for row, points in zip(rows, picture.keypoints, strict=True):
            row["keypoints"] = points.reshape(-1).tolist()
            row["num_keypoints"] = int((points[:, 2] > 0).sum())
    return rows


def _found(
    picture: Detections,
    classes: tuple[int, ...],
    kind: Kind,
    corner: NDArray[np.floating],
    frame: tuple[int, int],
) -> list[dict[str, Any]]:
    """The detections of the classes that have labels: the others cannot be judged."""
    judged = picture.take(np.isin(picture.labels, classes))
    rows: list[dict[str, Any]] = [
        {"category_id": int(label), "score": float(score)}
        for label, score in zip(judged.labels, judged.scores, strict=True)
    ]
    if kind == "outlines" and judged.corners is not None:
        for row, corners in zip(rows, judged.corners, strict=True):
            row["segmentation"] = _run_lengths((corners,), corner, frame)
    elif kind == "keypoints" and judged.keypoints is not None:
        for row, points in zip(rows, judged.keypoints, strict=True):
            row["keypoints"] = points.reshape(-1).astype(float).tolist()
    else:
        for row, box in zip(rows, _corner_and_size(judged.boxes), strict=True):
            row["bbox"] = box
    return rows


def _outlines(picture: Truth) -> Sequence[Outline]:
    if picture.corners is not None:
        return [(corners,) for corners in picture.corners]
    return picture.outlines or ()


def _frame(
    truth: Sequence[Truth], detections: Sequence[Detections]
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Whole pixels to move everything by, and (height, width) of a canvas that holds it then."""
    points = [p for t in truth for outline in _outlines(t) for p in outline]
    points += [d.corners.reshape(-1, 2) for d in detections if d.corners is not None]
    every = np.concatenate([p for p in points if len(p)])
    low = np.floor(every.min(axis=0))
    width, height = (np.ceil(every.max(axis=0)) - low).astype(int).tolist()
    return low, (max(height, 1), max(width, 1))


def _run_lengths(
    outline: Outline, corner: NDArray[np.floating], frame: tuple[int, int]
) -> dict[str, Any]:
    from faster_coco_eval.core import mask

    polygons = [(polygon - corner).reshape(-1).astype(float).tolist() for polygon in outline]
    run_lengths: dict[str, Any] = mask.merge(mask.frPyObjects(polygons, *frame))
    return run_lengths


def _corner_and_size(boxes: NDArray[np.floating]) -> list[list[float]]:
    wide = np.asarray(boxes, np.float64)
    rows: list[list[float]] = np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], 1).tolist()
    return rows


def _say_nothing(*_: object) -> None:
    """Take what the COCO evaluation would print."""
