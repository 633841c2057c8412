"""Running COCO's evaluation (faster-coco-eval) on labelled boxes and detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zqc.detection.detections import Detections
from zqc.detection.labels.labels import Outline, Truth
from zqc.detection.masks import Masks
from zqc.detection.overlap import oks_sigmas
from zqc.errors import LabelError
from zqc.runtime import extras

Kind = Literal["boxes", "outlines", "keypoints"]
"""What is compared: upright boxes, what an object covers, or keypoints by their OKS."""

Window = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in pixels of a picture; it may reach beyond the picture."""

_IOU_TYPES: Mapping[Kind, str] = {"boxes": "bbox", "outlines": "segm", "keypoints": "keypoints"}

_FAR = 1e4  # pixels; an outline that reaches further is cut

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
    truth: Sequence[Truth],
    detections: Sequence[Detections],
    kind: Kind = "boxes",
    *,
    windows: Sequence[Window] | None = None,
) -> CocoEvaluation:
    """Evaluate by the rules of COCO: ten IoU thresholds, 101 recalls, 100 detections (20 poses).

    Args:
        truth: The labelled boxes of each picture.
        detections: What was found in the same pictures, in the same pixels.
        kind: What is compared. Rotated boxes are outlines.
        windows: Where the grid of each picture's masks lies, if there are masks: outlines are then
            compared on that grid. Labels that are masks need none, but without windows their sizes
            are in cells.

    Raises:
        LabelError: There is no labelled box at all, or the labels or the detections do not have
            what is to be compared.
        MissingPackageError: The package that measures it is not installed.
    """
    extras.require(extras.COCO, "average precision")
    from faster_coco_eval import COCO, COCOeval_faster

    masked = any(t.masks is not None for t in truth) or (
        windows is not None and any(len(d) and d.masks is not None for d in detections)
    )
    _check(truth, detections, kind, masked=masked)
    classes = tuple(sorted({int(label) for t in truth for label in t.labels}))
    canvases = [_Canvas()] * len(truth)
    if kind == "outlines":
        canvases = _grids(truth, detections, windows) if masked else _frames(truth, detections)
    labelled = [
        {"image_id": index, **one}
        for index, (picture, canvas) in enumerate(zip(truth, canvases, strict=True))
        for one in _labelled(picture, kind, canvas)
    ]
    dataset = {
        "images": [
            {"id": index, "height": canvas.height, "width": canvas.width}
            for index, canvas in enumerate(canvases)
        ],
        "categories": [{"id": label, "name": str(label)} for label in classes],
        # ids from 1: COCO takes 0 for "no match"
        "annotations": [{"id": number, **one} for number, one in enumerate(labelled, start=1)],
    }
    found = [
        {"image_id": index, **one}
        for index, (picture, canvas) in enumerate(zip(detections, canvases, strict=True))
        for one in _found(picture, classes, kind, canvas)
    ]
    points = next((t.keypoints.shape[1] for t in truth if t.keypoints is not None), 0)
    reference = COCO(dataset, print_function=_say_nothing)
    results = reference.loadRes(found)
    for one in results.anns.values():  # areas are of the picture, not of the grid
        one["area"] /= float(np.prod(canvases[one["image_id"]].scale))
    evaluation = COCOeval_faster(
        reference,
        results,
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


@dataclass(frozen=True, eq=False)
class _Canvas:
    """Where outlines are drawn: ``place = (point - corner) * scale``, on so many pixels."""

    corner: NDArray[np.floating] = field(default_factory=lambda: np.zeros(2))
    scale: NDArray[np.floating] = field(default_factory=lambda: np.ones(2))
    height: int = 1
    width: int = 1

    def run_lengths(self, outline: Outline) -> dict[str, Any]:
        """Draw polygons."""
        from faster_coco_eval.core import mask

        polygons = [
            ((_bounded(p) - self.corner) * self.scale).reshape(-1).tolist() for p in outline
        ]
        drawn: dict[str, Any] = mask.merge(mask.frPyObjects(polygons, self.height, self.width))
        return drawn


def _check(
    truth: Sequence[Truth], detections: Sequence[Detections], kind: Kind, *, masked: bool
) -> None:
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
    elif any(t.outlines is None and t.corners is None and t.masks is None for t in labelled) or any(
        (d.masks if masked else d.corners) is None for d in found
    ):
        raise LabelError(
            "the labels and the detections do not both have outlines; compare boxes instead"
        )


def _labelled(picture: Truth, kind: Kind, canvas: _Canvas) -> list[dict[str, Any]]:
    boxes = _corner_and_size(picture.boxes)
    areas = [w * h for _, _, w, h in boxes] if picture.areas is None else picture.areas.tolist()
    rows: list[dict[str, Any]] = [
        {"category_id": int(label), "bbox": box, "area": area, "iscrowd": int(crowd)}
        for label, box, area, crowd in zip(picture.labels, boxes, areas, picture.crowd, strict=True)
    ]
    if kind == "outlines" and picture.masks is not None:
        cell = 1 / float(np.prod(canvas.scale))
        drawn = _encoded(picture.masks)
        for row, one, cells in zip(rows, drawn, picture.masks.areas, strict=True):
            row |= {"segmentation": one, "area": float(cells) * cell}
    elif kind == "outlines":
        for row, outline in zip(rows, _outlines(picture), strict=True):
            row["segmentation"] = canvas.run_lengths(outline)
    elif kind == "keypoints" and picture.keypoints is not None:
        for row, points in zip(rows, picture.keypoints, strict=True):
            row["keypoints"] = points.reshape(-1).tolist()
            row["num_keypoints"] = int((points[:, 2] > 0).sum())
    return rows


def _found(
    picture: Detections, classes: tuple[int, ...], kind: Kind, canvas: _Canvas
) -> list[dict[str, Any]]:
    """The detections of the classes that have labels: the others cannot be judged."""
    judged = picture.take(np.isin(picture.labels, classes))
    rows: list[dict[str, Any]] = [
        {"category_id": int(label), "score": float(score)}
        for label, score in zip(judged.labels, judged.scores, strict=True)
    ]
    if kind == "outlines":
        for row, drawn in zip(rows, _drawn(judged, canvas), strict=True):
            row["segmentation"] = drawn
    elif kind == "keypoints" and judged.keypoints is not None:
        for row, points in zip(rows, judged.keypoints, strict=True):
            row["keypoints"] = points.reshape(-1).astype(float).tolist()
    else:
        for row, box in zip(rows, _corner_and_size(judged.boxes), strict=True):
            row["bbox"] = box
    return rows


def _drawn(found: Detections, canvas: _Canvas) -> list[dict[str, Any]]:
    if found.corners is not None:
        return [canvas.run_lengths((corners,)) for corners in found.corners]
    return [] if found.masks is None else _encoded(found.masks)


def _encoded(masks: Masks) -> list[dict[str, Any]]:
    from faster_coco_eval.core import mask

    if not len(masks):
        return []
    stacked = np.asfortranarray(np.moveaxis(masks.arrays(), 0, -1).astype(np.uint8))
    drawn: list[dict[str, Any]] = mask.encode(stacked)
    return drawn


def _outlines(picture: Truth) -> Sequence[Outline]:
    if picture.corners is not None:
        return [(corners,) for corners in picture.corners]
    return picture.outlines or ()


def _frames(truth: Sequence[Truth], detections: Sequence[Detections]) -> list[_Canvas]:
    """A canvas in pixels for each picture that holds all that is drawn on it."""
    canvases = []
    for labelled, found in zip(truth, detections, strict=True):
        points = [polygon for outline in _outlines(labelled) for polygon in outline]
        points += [] if found.corners is None else list(found.corners)
        every = _bounded(np.concatenate([np.zeros((1, 2)), *points]))
        low = np.floor(every.min(axis=0))
        width, height = (np.ceil(every.max(axis=0)) - low).astype(int).tolist()
        canvases.append(_Canvas(low, np.ones(2), max(height, 1), max(width, 1)))
    return canvases


def _grids(
    truth: Sequence[Truth], detections: Sequence[Detections], windows: Sequence[Window] | None
) -> list[_Canvas]:
    """The grid of each picture's masks."""
    canvases = []
    for index, (labelled, found) in enumerate(zip(truth, detections, strict=True)):
        masks = labelled.masks if found.masks is None else found.masks
        height, width = (1, 1) if masks is None else masks.grid
        x1, y1, x2, y2 = windows[index] if windows else (0, 0, width, height)
        scale = np.array([width / (x2 - x1), height / (y2 - y1)])
        canvases.append(_Canvas(np.array([x1, y1]), scale, height, width))
    return canvases


def _bounded(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points that can be drawn, whatever a broken model says: finite, and not too far away."""
    finite: NDArray[np.float64] = np.clip(np.nan_to_num(points.astype(np.float64)), -_FAR, _FAR)
    return finite


def _corner_and_size(boxes: NDArray[np.floating]) -> list[list[float]]:
    wide = np.asarray(boxes, np.float64)
    rows: list[list[float]] = np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], 1).tolist()
    return rows


def _say_nothing(*_: object) -> None:
    """Take what the COCO evaluation would print."""
