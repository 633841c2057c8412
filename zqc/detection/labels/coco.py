"""Labels in the COCO format: one JSON file with ``images``, ``annotations`` and ``categories``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zqc.detection.labels.labels import LabelledObject, Labels, Outline, Truth
from zqc.detection.labels.names import read_text
from zqc.detection.losses.assignment import Objects
from zqc.errors import LabelError
from zqc.parsing.text import ParseError, is_number, parsed_json, shown

# What comes of a file that is JSON, but not this.
_MISTAKES = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


def read_coco(path: Path) -> Labels:
    """Read labels in the COCO format.

    A picture goes by the last part of its ``file_name``. The classes are in the order of their ids,
    which may begin anywhere and have gaps. Polygons of ``segmentation`` are kept, run lengths are
    not; ``keypoints`` are kept where the annotations have them.

    Raises:
        LabelError: The file is missing, is not of this format, or contradicts itself.
    """
    try:
        content = parsed_json(read_text(path))
    except ParseError as error:
        raise LabelError(f"cannot read the labels {path}: it {error}") from error
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise LabelError(
                f"{path} is not a COCO label file: it has no list of objects called {key!r}"
            )
    try:
        return _parse(content, path)
    except _MISTAKES as error:
        raise LabelError(f"{path} is not a COCO label file: {_mistake(error)}") from error


def _mistake(error: Exception) -> str:
    """What is wrong with the values of an entry, in words."""
    if isinstance(error, KeyError):
        return f"an entry has no {error}"
    return f"a value is of another kind than it must be ({str(error)[:80]})"


def coco_text(
    objects: Sequence[Objects],
    files: Sequence[str],
    names: Sequence[str],
    classes: int,
    size: tuple[int, int],
) -> str:
    """Write labels in the COCO format, which ``read_coco`` gives back.

    Args:
        objects: The labels of each picture, in its pixels.
        files: File name of each picture.
        names: Names of the classes; none where they are unknown.
        classes: Number of classes.
        size: Height and width of the pictures.
    """
    height, width = size
    images = [
        {"id": index, "file_name": name, "width": width, "height": height}
        for index, name in enumerate(files)
    ]
    rows = [
        (index, box.astype(float), int(label))
        for index, one in enumerate(objects)
        for box, label in zip(one.boxes, one.classes, strict=True)
    ]
    annotations = [
        {
            "id": number,
            "image_id": index,
            "category_id": label,
            "bbox": [*(float(x) for x in box[:2]), *(float(x) for x in box[2:] - box[:2])],
            "area": float(np.prod(box[2:] - box[:2])),
            "iscrowd": 0,
        }
        for number, (index, box, label) in enumerate(rows, start=1)
    ]
    named = len(names) == classes
    categories = [
        {"id": label, "name": names[label]} if named else {"id": label} for label in range(classes)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(content, indent=1, ensure_ascii=False)


def _parse(content: Any, path: Path) -> Labels:
    categories = {int(c["id"]): str(c.get("name", c["id"])) for c in content["categories"]}
    if len(categories) != len(content["categories"]):
        raise LabelError(f"{path} has two categories with the same id; give each its own")
    index_of = {number: index for index, number in enumerate(sorted(categories))}
    names: dict[int, str] = {}
    for image in content["images"]:
        names[int(image["id"])] = PurePosixPath(str(image["file_name"]).replace("\\", "/")).name
    if len(set(names.values())) != len(content["images"]):
        raise LabelError(f"{path} has two pictures with the same id or file name; rename them")
    objects: dict[str, list[LabelledObject]] = {name: [] for name in names.values()}
    points = max((len(a.get("keypoints") or ()) for a in content["annotations"]), default=0)
    for annotation in content["annotations"]:
        where = f"annotation {annotation.get('id')} of {path}"
        image_id, category = int(annotation["image_id"]), int(annotation["category_id"])
        if image_id not in names or category not in index_of:
            raise LabelError(
                f"{where} is about image {image_id} and category {category}, but the file does "
                "not list both"
            )
        try:
            labelled = _object(annotation, index_of[category], points, where)
        except _MISTAKES as error:
            raise LabelError(f"{where} is not a COCO annotation: {_mistake(error)}") from error
        objects[names[image_id]].append(labelled)
    return Labels(
        path,
        tuple(categories[number] for number in sorted(categories)),
        {name: Truth.of_objects(rows) for name, rows in objects.items()},
        named=any("name" in category for category in content["categories"]),
    )


def _object(annotation: dict[str, Any], label: int, points: int, where: str) -> LabelledObject:
    box = annotation["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise LabelError(f"{where} has the box {shown(box)}; expected x, y, width and height")
    x, y, w, h = map(float, box)
    if min(w, h) < 0:
        raise LabelError(
            f"{where} has the box {shown(box)}; expected x, y, width and height in pixels"
        )
    area, crowd = annotation.get("area", w * h), annotation.get("iscrowd", 0)
    if not is_number(area) or area < 0:
        raise LabelError(f"{where} has the area {shown(area)}; expected square pixels")
    if crowd not in (0, 1, None):
        raise LabelError(f"{where} has the iscrowd {shown(crowd)}; expected 0 or 1")
    return LabelledObject(
        box=(x, y, x + w, y + h),
        label=label,
        crowd=bool(crowd),
        area=float(area),
        outline=_outline(annotation.get("segmentation"), where),
        keypoints=_keypoints(annotation.get("keypoints") or [0] * points, points, where)
        if points
        else None,
    )


def _outline(segmentation: Any, where: str) -> Outline:
    """The polygons of an annotation; none where it has run lengths."""
    if not isinstance(segmentation, list):
        return ()
    polygons = [np.array(polygon, np.float64) for polygon in segmentation]
    for polygon in polygons:
        if polygon.ndim != 1 or len(polygon) % 2 or len(polygon) < 6:
            raise LabelError(f"{where} has a polygon that is not x, y of three points or more")
        if not np.isfinite(polygon).all():
            raise LabelError(f"{where} has a polygon with NaN or infinity")
    return tuple(polygon.reshape(-1, 2) for polygon in polygons)


def _keypoints(values: Any, count: int, where: str) -> NDArray[np.float64]:
    keypoints = np.array(values, np.float64)
    if keypoints.shape != (count,) or count % 3 or not np.isfinite(keypoints).all():
        raise LabelError(
            f"{where} has {keypoints.size} numbers of keypoints; expected x, y and visibility of "
            f"each of {count // 3}"
        )
    return keypoints.reshape(-1, 3)
