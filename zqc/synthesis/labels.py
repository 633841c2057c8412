"""What the pictures of a set are to show: labels drawn at random, and fitted to what is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import iou_matrix
from zqc.detection.conventions.convention import Size
from zqc.detection.losses.assignment import Assignment, Objects
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.nms import Selection, select

_SIDES = (0.2, 0.8)
"""Of the box that a picture begins with, as shares of the input's."""

_CONFIDENT, _NEW = 0.2, 0.35
"""A detection becomes a label from this score on, below this IoU with all labels there are."""

_AREAS = (0.01, 0.85)
"""Of a detection that becomes a label, as shares of the input's."""

_ARRAYS = ("label_boxes", "label_classes", "label_counts", "owners", "targets", "counted")
"""Names of the arrays that hold labels in a checkpoint."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of some pictures, and which candidates of the detector answer for them.

    Attributes:
        objects: The labels of each picture.
        assigned: The candidates of each picture.
    """

    objects: tuple[Objects, ...]
    assigned: tuple[Assignment, ...]

    @classmethod
    def of(
        cls,
        detector: DetectorLoss,
        objects: Sequence[Objects],
        outputs: Mapping[str, NDArray[np.generic]],
        *,
        adapt: bool = False,
    ) -> Labels:
        """Assign the candidates by what the detector says of the pictures.

        Args:
            detector: The detector.
            objects: The labels of each picture.
            outputs: ``PREDICTIONS`` by name.
            adapt: Whether the labels are fitted to them first, see ``adapted``.
        """
        boxes = np.asarray(outputs["boxes"], np.float32)
        scores = np.asarray(outputs["scores"], np.float32)
        if adapt:
            rows = zip(objects, boxes, scores, strict=True)
            objects = [adapted(one, b, s, detector.size) for one, b, s in rows]
        return cls(tuple(objects), detector.assigned(boxes, scores, objects))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> tuple[Labels, ...]:
        """Read what ``to_arrays`` has written, picture by picture; nothing if there is nothing."""
        if _ARRAYS[0] not in arrays:
            return ()
        boxes, classes, counts, owners, targets, counted = (arrays[name] for name in _ARRAYS)
        ends = np.cumsum(counts.astype(np.int64))[:-1]
        objects = [
            Objects(b.astype(np.float32), c.astype(np.int64))
            for b, c in zip(np.split(boxes, ends), np.split(classes, ends), strict=True)
        ]
        assigned = [
            Assignment(o.astype(np.int64), t.astype(np.float32), c.astype(np.float32))
            for o, t, c in zip(owners, targets, counted, strict=True)
        ]
        return tuple(Labels((o,), (a,)) for o, a in zip(objects, assigned, strict=True))

    @classmethod
    def joined(cls, parts: Sequence[Labels]) -> Labels:
        """The labels of all pictures of some parts."""
        return cls(
            tuple(one for part in parts for one in part.objects),
            tuple(one for part in parts for one in part.assigned),
        )

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """All of it as named arrays."""
        values: tuple[NDArray[np.generic], ...] = (
            np.concatenate([one.boxes for one in self.objects]),
            np.concatenate([one.classes for one in self.objects]),
            np.array([len(one) for one in self.objects]),
            np.stack([one.owner for one in self.assigned]),
            np.stack([one.target for one in self.assigned]),
            np.stack([one.counted for one in self.assigned]),
        )
        return dict(zip(_ARRAYS, values, strict=True))


def first_objects(
    generator: np.random.Generator, count: int, classes: int, size: Size
) -> tuple[Objects, ...]:
    """Draw one box for each picture, anywhere inside of it, and a class for each.

    Sides are uniform between 0.2 and 0.8 of the input's, and so is how far the centre is off the
    middle, of what keeps the box inside (arXiv 2507.16782, its code).

    Args:
        generator: Of random numbers.
        count: Number of pictures.
        classes: Number of classes.
        size: Height and width of the input.
    """
    sides = generator.uniform(*_SIDES, (count, 2))
    centres = 0.5 + (0.5 - sides / 2) * generator.uniform(-1, 1, (count, 2))
    pixels = np.array([size[1], size[0]] * 2)
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1) * pixels
    drawn = generator.integers(0, classes, count)
    return tuple(
        Objects(box[None].astype(np.float32), np.array([label], np.int64))
        for box, label in zip(boxes, drawn, strict=True)
    )


def adapted(
    objects: Objects, boxes: NDArray[np.floating], scores: NDArray[np.floating], size: Size
) -> Objects:
    """Fit the labels of a picture to what the detector is sure of (adaptive label sampling).

    Detections with a score above 0.2 become labels where they overlap none with an IoU of 0.35 or
    more and have an area between 0.01 and 0.85 of the input. Of several labels those that no such
    detection overlaps so far are dropped, but for the one that one overlaps most. A picture without
    such detections keeps its labels (arXiv 2507.16782, its code).

    Args:
        objects: The labels.
        boxes: Of the candidates, (A, 4) in pixels.
        scores: Of the candidates, (A, C).
        size: Height and width of the input.
    """
    height, width = size
    found = select(boxes, scores, Selection()).above(_CONFIDENT)
    if not len(found):
        return objects
    corners = np.clip(found.boxes, 0, np.array([width, height] * 2)).astype(np.float32)
    overlap = iou_matrix(objects.boxes, corners)
    area = np.prod(corners[:, 2:] - corners[:, :2], axis=1) / (height * width)
    new = (overlap.max(axis=0) < _NEW) & (area > _AREAS[0]) & (area < _AREAS[1])
    best = overlap.max(axis=1)
    kept = best >= _NEW if len(objects) > 1 else np.ones(1, bool)
    if not kept.any():
        kept[best.argmax()] = True
    return Objects(
        np.concatenate([objects.boxes[kept], corners[new]]),
        np.concatenate([objects.classes[kept], found.labels[new]]),
    )
