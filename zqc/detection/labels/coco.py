"""Labels in the COCO format: one JSON file with ``images``, ``annotations`` and ``categories``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zqc.detection.labels.labels import LabelledObject, Labels, Outline, Truth
from zqc.detection.labels.names import read_text
from zqc.detection.losses.assignment import Objects
from zqc.errors import LabelError
from zqc.parsing.text import ParseError, is_number, is_whole, parsed_json, shown


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
    return _parse(content, path)


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
    categories = {
        _id(category, "id", where): str(category.get("name", category["id"]))
        for where, category in _entries(content, "categories", "category", path)
    }
    if len(categories) != len(content["categories"]):
        raise LabelError(f"{path} has two categories with the same id; give each its own")
    index_of = {number: index for index, number in enumerate(sorted(categories))}
    names: dict[int, str] = {}
    for where, image in _entries(content, "images", "image", path):
        name = str(_value(image, "file_name", where)).replace("\\", "/")
        names[_id(image, "id", where)] = PurePosixPath(name).name
    if len(set(names.values())) != len(content["images"]):
        raise LabelError(f"{path} has two pictures with the same id or file name; rename them")
    objects: dict[str, list[LabelledObject]] = {name: [] for name in names.values()}
    annotations = _entries(content, "annotations", "annotation", path)
    points = max((len(_keypoints(a, where)) for where, a in annotations), default=0)
    for where, annotation in annotations:
        image_id = _id(annotation, "image_id", where)
        category = _id(annotation, "category_id", where)
        if image_id not in names or category not in index_of:
            raise LabelError(
                f"{where} is about image {image_id} and category {category}, but the file does "
                "not list both"
            )
        labelled = _object(annotation, index_of[category], points, where)
        objects[names[image_id]].append(labelled)
    return Labels(
        path,
        tuple(categories[number] for number in sorted(categories)),
        {name: Truth.of_objects(rows) for name, rows in objects.items()},
        named=any("name" in category for category in content["categories"]),
    )


def _entries(content: Any, key: str, noun: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The entries of a list, each with what messages call it: by its id, else by its place."""

    def called(place: int, entry: dict[str, Any]) -> str:
        named = is_whole(entry.get("id"))
        return f"{noun} {entry['id']} of {path}" if named else f"{key}[{place}] of {path}"

    return [(called(place, entry), entry) for place, entry in enumerate(content[key])]


def _value(entry: dict[str, Any], field: str, where: str) -> Any:
    if field not in entry:
        raise LabelError(f"{where} has no {field!r}")
    return entry[field]


def _id(entry: dict[str, Any], field: str, where: str) -> int:
    """A whole number; some tools write its digits as text, or a point behind it."""
    value = _value(entry, field, where)
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value) else value
    number = int(number) if is_number(number) and int(number) == number else number
    if not is_whole(number):
        raise LabelError(f"{where} has the {field} {shown(value)}; expected a whole number")
    return int(number)


def _object(annotation: dict[str, Any], label: int, points: int, where: str) -> LabelledObject:
    box = _value(annotation, "bbox", where)
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise LabelError(f"{where} has the bbox {shown(box)}; expected x, y, width and height")
    x, y, w, h = map(float, box)
    if min(w, h) < 0:
        raise LabelError(
            f"{where} has the bbox {shown(box)}; expected x, y, width and height in pixels"
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
        keypoints=_placed(_keypoints(annotation, where) or [0] * points, points, where)
        if points
        else None,
    )


def _outline(segmentation: Any, where: str) -> Outline:
    """The polygons of an annotation; none where it has run lengths."""
    if not isinstance(segmentation, list):
        return ()
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) % 2 or len(polygon) < 6:
            raise LabelError(
                f"{where} has a segmentation whose polygon is not x, y of three points or more"
            )
        if not all(map(is_number, polygon)):
            raise LabelError(
                f"{where} has a segmentation with a polygon of {shown(polygon)}; expected numbers"
            )
    return tuple(np.array(polygon, np.float64).reshape(-1, 2) for polygon in segmentation)


def _keypoints(annotation: dict[str, Any], where: str) -> list[Any]:
    """The numbers of its keypoints; none where it has none."""
    values = annotation.get("keypoints") or []
    if not isinstance(values, list) or not all(map(is_number, values)):
        raise LabelError(f"{where} has the keypoints {shown(values)}; expected a list of numbers")
    return values


def _placed(values: list[Any], count: int, where: str) -> NDArray[np.float64]:
    if len(values) != count or count % 3:
        raise LabelError(
            f"{where} has {len(values)} numbers of keypoints; expected x, y and visibility of "
            f"each of {count // 3}"
        )
    return np.array(values, np.float64).reshape(-1, 3)
