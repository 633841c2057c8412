"""Labels in the format of Pascal VOC: an XML file for each picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from zqc.detection.labels.labels import LabelledObject, Labels, Truth
from zqc.detection.labels.names import read_text
from zqc.errors import LabelError

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, files: Sequence[Path]) -> Labels:
    """Read labels in the format of Pascal VOC.

    A picture goes by the name of its XML file, since ``filename`` in it is often an older one. The
    classes are those that occur, in the order of the alphabet. Objects marked as difficult neither
    help nor harm.

    Pixels count from 1 in the format, and both corners belong to the box: it begins one pixel
    before its first corner. Where a corner of any file is 0, its writer counted from 0, and all
    coordinates are taken as they stand.

    Args:
        path: What the files were found by, for messages.
        files: The XML files.

    Raises:
        LabelError: A file cannot be read or has wrong values.
    """
    roots = {file: _parse(file) for file in files}
    names = sorted({_name(one, file) for file, root in roots.items() for one in _objects(root)})
    index_of = {name: index for index, name in enumerate(names)}
    boxes = {file: [_box(one, file) for one in _objects(root)] for file, root in roots.items()}
    first = min((min(box[:2]) for found in boxes.values() for box in found), default=1)
    before = 1 if first >= 1 else 0
    pictures = {}
    for file, root in roots.items():
        pairs = zip(_objects(root), boxes[file], strict=True)
        objects = [_object(one, box, before, index_of, file) for one, box in pairs]
        pictures[file.stem] = Truth.of_objects(objects)
    return Labels(path, tuple(names), pictures, by_stem=True, ordered=False)


def _parse(file: Path) -> ElementTree.Element:
    """Read XML without a document type: only there could entities that never end be defined."""
    text = read_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise LabelError(f"{file} has a document type, which labels do not need; remove it")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise LabelError(f"{file} is not XML: {str(error)[:200]}") from error
    except RecursionError as error:
        raise LabelError(f"{file} is nested without end, which no label is") from error
    if root.tag != "annotation":
        raise LabelError(f"{file} is not a Pascal VOC label file: it begins with <{root.tag}>")
    return root


def _objects(root: ElementTree.Element) -> list[ElementTree.Element]:
    return root.findall("object")


def _name(element: ElementTree.Element, file: Path) -> str:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise LabelError(f"an object in {file} has no name; expected <name>class</name>")
    return name


def _box(element: ElementTree.Element, file: Path) -> tuple[float, float, float, float]:
    """The corners as they stand in the file."""
    texts = [(element.findtext(f"bndbox/{side}") or "").strip() for side in _SIDES]
    try:
        x1, y1, x2, y2 = map(float, texts)
    except ValueError:
        x1 = y1 = x2 = y2 = math.nan
    if not (x1 <= x2 < math.inf and y1 <= y2 < math.inf and min(x1, y1) > -math.inf):
        raise LabelError(
            f"the {_name(element, file)} in {file} has the box "
            f"{', '.join(text[:20] or 'nothing' for text in texts)}; "
            f"expected {', '.join(_SIDES)} in pixels"
        )
    return x1, y1, x2, y2


def _object(
    element: ElementTree.Element,
    corners: tuple[float, float, float, float],
    before: int,
    index_of: Mapping[str, int],
    file: Path,
) -> LabelledObject:
    """An object whose box begins so many pixels before its first corner."""
    x1, y1, x2, y2 = corners
    difficult = (element.findtext("difficult") or "0").strip() not in ("", "0")
    return LabelledObject(
        box=(x1 - before, y1 - before, x2, y2),
        label=index_of[_name(element, file)],
        crowd=difficult,
    )
