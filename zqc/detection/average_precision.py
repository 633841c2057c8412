"""COCO average precision, against labels or against another model's detections."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from zqc.errors import LabelError
from zqc.runtime import extras

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zqc.detection.detections import Detections


@dataclass(frozen=True, eq=False)
class Truth:
    """The labelled boxes of one picture.

    Attributes:
        boxes: (x1, y1, x2, y2) in pixels of the picture, shape (n, 4).
        labels: Index of the class, shape (n,).
        crowd: Whether a box marks a crowd, which neither helps nor harms; shape (n,).
    """

    boxes: NDArray[np.floating]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)


_EMPTY = Truth(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.bool_))


@dataclass(frozen=True)
class Labels:
    """A label file.

    Attributes:
        path: Where it was read from.
        categories: Names of the classes, by class index.
        pictures: The labelled boxes by file name, without folders.
    """

    path: Path
    categories: tuple[str, ...]
    pictures: Mapping[str, Truth]

    def of(self, names: Sequence[str]) -> list[Truth]:
        """Return the boxes of these pictures, in their order; unlabelled pictures have none.

        Raises:
            LabelError: Not a single labelled box belongs to these pictures.
        """
        found = [self.pictures.get(name, _EMPTY) for name in names]
        if not any(len(truth) for truth in found):
            raise LabelError(
                f"{self.path} labels nothing in these {len(names)} pictures (the first is "
                f"{names[0]}); file_name in the labels must be the pictures' names"
            )
        return found


def read_labels(path: Path) -> Labels:
    """Read labels in the COCO format (``images``, ``annotations``, ``categories``).

    A picture is matched by the last part of its ``file_name``. The category with the lowest id is
    class 0 of the model, the next one class 1, and so on.

    Raises:
        LabelError: The file is missing, is not of this format, or contradicts itself.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabelError(f"cannot read the labels {path}: {error}") from error
    try:
        return _parse(content, path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelError(
            f"{path} is not a COCO label file (images, annotations, categories): "
            f"{type(error).__name__} {error}"
        ) from error


def coco_accuracy(truth: Sequence[Truth], detections: Sequence[Detections]) -> Accuracy:
    """Average precision by the rules of COCO: 101 recalls, 100 detections per picture and class.

    Args:
        truth: The labelled boxes of each picture.
        detections: What was found in the same pictures, in the same pixels.

    Raises:
        LabelError: There is no labelled box at all.
        MissingPackageError: The package that measures it is not installed.
    """
    extras.require(extras.COCO, "average precision")
    from faster_coco_eval import COCO, COCOeval_faster

    if not any((~t.crowd).any() for t in truth):
        raise LabelError("there is no labelled box to measure average precision against")
    classes = sorted({int(label) for t in truth for label in t.labels})
    labelled = [
        {
            "image_id": index,
            "category_id": int(label),
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": int(crowd),
        }
        for index, picture in enumerate(truth)
        for box, label, crowd in zip(
            _corner_and_size(picture.boxes), picture.labels, picture.crowd, strict=True
        )
    ]
    dataset = {
        "images": [{"id": index} for index in range(len(truth))],
        "categories": [{"id": label, "name": str(label)} for label in classes],
        # ids from 1: COCO takes 0 for "no match"
        "annotations": [{"id": number, **box} for number, box in enumerate(labelled, start=1)],
    }
    found = [
        {"image_id": index, "category_id": int(label), "bbox": box, "score": float(score)}
        for index, picture in enumerate(detections)
        for box, score, label in zip(
            _corner_and_size(picture.boxes), picture.scores, picture.labels, strict=True
        )
    ]
    reference = COCO(dataset, print_function=_say_nothing)
    evaluation = COCOeval_faster(
        reference, reference.loadRes(found), "bbox", print_function=_say_nothing
    )
    evaluation.run()
    stats = evaluation.stats_as_dict
    return Accuracy(ap=float(stats["AP_all"]), ap50=float(stats["AP_50"]))


def agreement(
    reference: Sequence[Detections], detections: Sequence[Detections], score_threshold: float = 0.3
) -> Accuracy | None:
    """Average precision with another model's confident detections in the place of labels.

    Args:
        reference: Detections of the float model after NMS.
        detections: Detections of the quantized model in the same pictures.
        score_threshold: Detections of the reference count when their score is greater.

    Returns:
        None when the float model found nothing with such a score.
    """
    confident = [found.above(score_threshold) for found in reference]
    if not any(len(found) for found in confident):
        return None
    truth = [Truth(f.boxes, f.labels, np.zeros(len(f), np.bool_)) for f in confident]
    return coco_accuracy(truth, detections)


def _parse(content: Any, path: Path) -> Labels:
    index_of = {int(c["id"]): c for c in content["categories"]}
    ids = sorted(index_of)
    names: dict[int, str] = {}
    for image in content["images"]:
        names[int(image["id"])] = PurePosixPath(str(image["file_name"]).replace("\\", "/")).name
    if len(set(names.values())) != len(content["images"]):
        raise LabelError(f"{path} has two pictures with the same id or file name; rename them")
    boxes: dict[str, list[tuple[list[float], int, bool]]] = {name: [] for name in names.values()}
    for annotation in content["annotations"]:
        image_id, category = int(annotation["image_id"]), int(annotation["category_id"])
        if image_id not in names or category not in index_of:
            raise LabelError(
                f"annotation {annotation.get('id')} of {path} is about image {image_id} and "
                f"category {category}, but the file does not list both"
            )
        x, y, w, h = map(float, annotation["bbox"])
        if not all(map(math.isfinite, (x, y, w, h))) or min(w, h) < 0:
            raise LabelError(
                f"annotation {annotation.get('id')} of {path} has the box {annotation['bbox']}; "
                "expected x, y, width and height in pixels"
            )
        crowd = bool(annotation.get("iscrowd", 0))
        boxes[names[image_id]].append(([x, y, x + w, y + h], ids.index(category), crowd))
    return Labels(
        path,
        tuple(str(index_of[i].get("name", i)) for i in ids),
        {name: _truth(rows) for name, rows in boxes.items()},
    )


def _truth(rows: list[tuple[list[float], int, bool]]) -> Truth:
    return Truth(
        np.array([box for box, _, _ in rows], np.float64).reshape(-1, 4),
        np.array([label for _, label, _ in rows], np.int64),
        np.array([crowd for _, _, crowd in rows], np.bool_),
    )


def _corner_and_size(boxes: NDArray[np.floating]) -> list[list[float]]:
    wide = np.asarray(boxes, np.float64)
    rows: list[list[float]] = np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], 1).tolist()
    return rows


def _say_nothing(*_: object) -> None:
    """Take what the COCO evaluation would print."""


@dataclass(frozen=True)
class Accuracy:
    """COCO average precision, each in 0…1.

    Attributes:
        ap: Mean over IoU 0.50:0.95.
        ap50: At IoU 0.50.
    """

    ap: float
    ap50: float
