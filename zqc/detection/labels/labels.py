"""Labelled boxes, picture by picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zqc.detection.masks import Masks
from zqc.errors import LabelError

Outline = tuple[NDArray[np.floating], ...]
"""The polygons, each (x, y) of shape (k, 2), that cover one object."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The labelled boxes of one picture.

    Attributes:
        boxes: (x1, y1, x2, y2) in pixels of the picture, shape (n, 4).
        labels: Index of the class, shape (n,).
        crowd: Whether a box marks a crowd, which neither helps nor harms; shape (n,).
        areas: Area of each object in pixels, by which COCO tells small from large; that of the box
            where it is None; shape (n,).
        corners: The corners of rotated boxes in order, shape (n, 4, 2); None but for those.
        outlines: What each object covers, n of them; None where boxes are all there is.
        keypoints: (x, y, visibility), 0 where a point is not labelled, shape (n, K, 3); or None.
        masks: What each object covers on the grid of the detections' masks, where a model's
            detections stand in for labels; else None.
    """

    boxes: NDArray[np.floating]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.floating] | None = None
    corners: NDArray[np.floating] | None = None
    outlines: tuple[Outline, ...] | None = None
    keypoints: NDArray[np.floating] | None = None
    masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of_objects(cls, objects: Sequence[LabelledObject]) -> Truth:
        """Collect the objects of one picture; what only some of them have is left out.

        An object without an outline beside others that have one is covered by its box.
        """
        boxes = np.array([one.box for one in objects], np.float64).reshape(-1, 4)
        sides = boxes[:, 2:] - boxes[:, :2]
        areas = [
            float(np.prod(side)) if one.area is None else one.area
            for one, side in zip(objects, sides, strict=True)
        ]
        corners = [one.corners for one in objects if one.corners is not None]
        points = [one.keypoints for one in objects if one.keypoints is not None]
        outlined = any(one.outline for one in objects)
        return cls(
            boxes,
            np.array([one.label for one in objects], np.int64),
            np.array([one.crowd for one in objects], np.bool_),
            areas=np.array(areas, np.float64),
            corners=np.stack(corners) if objects and len(corners) == len(objects) else None,
            outlines=tuple(one.outline or (_rectangle(one.box),) for one in objects)
            if outlined
            else None,
            keypoints=np.stack(points) if objects and len(points) == len(objects) else None,
        )

    def relabelled(self, classes: Sequence[int]) -> Truth:
        """The same with class ``classes[i]`` in the place of class i."""
        return replace(self, labels=np.array(classes, np.int64)[self.labels])


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledObject:
    """One object, as a file describes it.

    Attributes:
        box: (x1, y1, x2, y2) in pixels.
        label: Index of its class among those of the file.
        crowd: Whether it marks many objects at once, or one that nobody need find.
        area: In pixels; that of the box if None.
        corners: The corners of a rotated box, shape (4, 2).
        outline: What it covers; empty where only the box is known.
        keypoints: (x, y, visibility), shape (K, 3).
    """

    box: tuple[float, float, float, float]
    label: int
    crowd: bool = False
    area: float | None = None
    corners: NDArray[np.floating] | None = None
    outline: Outline = ()
    keypoints: NDArray[np.floating] | None = None


EMPTY = Truth.of_objects([])


@dataclass(frozen=True)
class Labels:
    """What a label file, or a folder of them, says.

    Attributes:
        path: Where it was read from.
        categories: Names of the classes, by class index; their numbers where none are named.
        pictures: The labelled boxes by file name, without folders.
        by_stem: Whether ``pictures`` has the names without their endings, as files of labels that
            stand beside the pictures do.
        named: Whether the classes have names.
        ordered: Whether the order of the classes comes from the file, rather than the alphabet.
    """

    path: Path
    categories: tuple[str, ...]
    pictures: Mapping[str, Truth]
    by_stem: bool = False
    named: bool = True
    ordered: bool = True

    @property
    def used(self) -> frozenset[int]:
        """Index of each class that has a box."""
        return frozenset(int(label) for truth in self.pictures.values() for label in truth.labels)

    def listed(self, names: Sequence[str]) -> list[int]:
        """Return the places of the pictures that are judged.

        A file that lists its pictures says nothing of others. Files that stand beside pictures do:
        a picture without one has no objects.
        """
        every = range(len(names))
        return list(every if self.by_stem else (i for i in every if names[i] in self.pictures))

    def of(self, names: Sequence[str]) -> list[Truth]:
        """Return the boxes of these pictures, in their order; unlabelled pictures have none.

        Raises:
            LabelError: Not a single labelled box belongs to these pictures, or labels that go by
                the name without its ending belong to two of them.
        """
        keys = [Path(name).stem if self.by_stem else name for name in names]
        if self.by_stem and len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise LabelError(
                f"two pictures are called {twice}, and {self.path} does not tell them apart; "
                "rename one"
            )
        found = [self.pictures.get(key, EMPTY) for key in keys]
        if not any(len(truth) for truth in found):
            raise LabelError(
                f"{self.path} labels nothing in these {len(names)} pictures (the first is "
                f"{names[0] if names else 'missing'}); the names in the labels must be the "
                "pictures' names"
            )
        return found


def box_around(points: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """The upright box (x1, y1, x2, y2) around points of shape (k, 2)."""
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x1, y1, x2, y2


def _rectangle(box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float64)
