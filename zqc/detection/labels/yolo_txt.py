"""Labels as YOLO is trained with: a text file for each picture, a line for each object.

A line is the number of the class and then, relative to the picture's width and height:

1. four numbers, a box: centre x, centre y, width, height;
2. eight numbers, a rotated box: x and y of its four corners (as an outline of four points is, too);
3. six, ten or more even ones, an outline: x and y of its points, the box is the one around it;
4. a box and then x and y, or x, y and visibility, of K keypoints, if the dataset's YAML says so
   (``kpt_shape``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zqc.detection.labels.labels import LabelledObject, Labels, Truth, box_around
from zqc.detection.labels.names import read_text
from zqc.errors import LabelError

SizeOf = Callable[[Path], tuple[int, int]]
"""From the file of a picture to its width and height."""

_CLASSES = 100_000  # a greater number of a class is a mistake
_SLACK = 1.01  # boxes that were cut at the border may end a rounding error outside of it


def read_yolo(
    path: Path,
    files: Mapping[Path, Path],
    *,
    size_of: SizeOf,
    names: Sequence[str] = (),
    keypoints: tuple[int, int] | None = None,
) -> Labels:
    """Read the labels of some pictures.

    Args:
        path: What they were found by, for messages.
        files: The label file of each picture; one that does not exist labels nothing.
        size_of: The size of a picture; only those with labels are asked.
        names: Names of the classes by number.
        keypoints: Number of keypoints, and of numbers for each: 2 or 3.

    Raises:
        LabelError: A line is wrong, or two pictures have one name.
    """
    pictures: dict[str, Truth] = {}
    highest = -1
    for picture, file in files.items():
        if picture.stem in pictures:
            raise LabelError(
                f"two pictures are called {picture.stem}, the second is {picture}; rename one"
            )
        rows = _rows(file) if file.is_file() else []
        size = size_of(picture) if rows else (1, 1)
        objects = [_object(row, size, keypoints, f"line {n} of {file}") for n, row in rows]
        highest = max([highest, *(one.label for one in objects)])
        if names and highest >= len(names):
            raise LabelError(
                f"{file} has the class {highest}, but only {len(names)} classes have names; "
                "give the names of all"
            )
        pictures[picture.stem] = Truth.of_objects(objects)
    categories = tuple(names) or tuple(map(str, range(highest + 1)))
    return Labels(path, categories, pictures, by_stem=True, named=bool(names))


def label_file(picture: Path) -> Path:
    """Where the labels of a picture are.

    They are beside it, or in the folder ``labels`` where the path of the picture has ``images``.
    """
    beside = picture.with_suffix(".txt")
    parts = list(beside.absolute().parts)
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if beside.is_file() or not folders:
        return beside
    parts[folders[-1]] = "labels"
    return Path(*parts)


def _rows(file: Path) -> list[tuple[int, list[float]]]:
    """Every line that is not empty, with its number."""
    rows = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        words = line.split()
        try:
            values = [float(word) for word in words]
        except ValueError as error:
            raise LabelError(f"line {number} of {file} is not numbers: {line[:60]}") from error
        if values:
            rows.append((number, values))
    return rows


def _object(
    row: list[float], size: tuple[int, int], keypoints: tuple[int, int] | None, where: str
) -> LabelledObject:
    label, values = row[0], np.array(row[1:], np.float64)
    if not (0 <= label < _CLASSES and label == int(label)):
        raise LabelError(f"{where} begins with {label:g}; expected the number of a class from 0")
    if keypoints is not None:
        return _pose(int(label), values, size, keypoints, where)
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise LabelError(
            f"{where} has {len(values)} numbers behind the class; expected 4 of a box, 8 of a "
            "rotated one, or x and y of each point of an outline; keypoints need the dataset's "
            "YAML with kpt_shape, and detections with a score are no labels"
        )
    _check_range(values, where)
    if len(values) == 4:
        return LabelledObject(box=_box(values, size, where), label=int(label))
    points = values.reshape(-1, 2) * size
    return LabelledObject(
        box=box_around(points),
        label=int(label),
        area=_polygon_area(points),
        outline=(points,),
        corners=points if len(points) == 4 else None,
    )


def _pose(
    label: int,
    values: NDArray[np.float64],
    size: tuple[int, int],
    shape: tuple[int, int],
    where: str,
) -> LabelledObject:
    count, each = shape
    if len(values) != 4 + count * each:
        raise LabelError(
            f"{where} has {len(values)} numbers behind the class; kpt_shape {list(shape)} makes it "
            f"{4 + count * each}"
        )
    points = values[4:].reshape(count, each)
    _check_range(np.concatenate([values[:4], points[:, :2].reshape(-1)]), where)
    seen = points[:, 2:] if each == 3 else 2.0 * points.any(axis=1, keepdims=True)
    if not np.isfinite(seen).all():
        raise LabelError(f"{where} has a visibility that is no number")
    return LabelledObject(
        box=_box(values[:4], size, where),
        label=label,
        keypoints=np.concatenate([points[:, :2] * size, seen], axis=1),
    )


def _box(
    values: NDArray[np.float64], size: tuple[int, int], where: str
) -> tuple[float, float, float, float]:
    centre, sides = values[:2] * size, values[2:] * size
    if sides.min() < 0:
        raise LabelError(f"{where} has a box of negative size")
    return box_around(np.stack([centre - sides / 2, centre + sides / 2]))


def _check_range(values: NDArray[np.float64], where: str) -> None:
    if not ((values >= 1 - _SLACK) & (values <= _SLACK)).all():  # NaN too
        raise LabelError(
            f"{where} has numbers outside of 0…1; they must be relative to the picture's size"
        )


def _polygon_area(points: NDArray[np.float64]) -> float:
    """By the shoelace formula."""
    x, y = points.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
