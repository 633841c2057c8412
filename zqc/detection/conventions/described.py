"""Detectors as the user describes them, see ``description``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.anchor_heads import AnchorHeads, Head, Sizes, classes_of, grid_of
from zqc.detection.conventions.anchors_file import read_anchors
from zqc.detection.conventions.convention import Convention, Facts, Family, Outputs, Task
from zqc.detection.conventions.description import Activation, BoxFormat, Description, Units
from zqc.detection.conventions.functions import sigmoid, softmax
from zqc.detection.conventions.grids import RUNS, strides_of
from zqc.detection.conventions.ranking import best_pairs, chosen
from zqc.detection.conventions.yolov3 import ANCHORS as YOLOV3_ANCHORS
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.errors import OptionError
from zqc.pictures.input_format import FitMode

_YOLOV7_ANCHORS = (
    *((12, 16), (19, 36), (40, 28)),
    *((36, 75), (76, 55), (72, 146)),
    *((142, 110), (192, 243), (459, 401)),
)
# YOLOv5 begins with those of YOLOv3 and keeps them where they fit the boxes of a data set.
_HEADS = {"yolov3": YOLOV3_ANCHORS, "yolov5": YOLOV3_ANCHORS, "yolov7": _YOLOV7_ANCHORS}
_ALIASES = {"ssd": "ssdlite", "yolov7": "yolov5"}


@dataclass(frozen=True)
class Described:
    """Boxes and scores in outputs as the user says, see ``Description`` for the attributes."""

    name: ClassVar[str] = "described"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    boxes: str
    scores: str
    labels: str
    box_format: BoxFormat
    units: Units
    activation: Activation
    background: int | None
    objectness: bool
    candidates: int
    nms: bool
    classes: int
    height: int
    width: int

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        boxes = self._corners(self._rows(outputs[self.boxes])[..., :4])
        if self.labels:
            scores = np.asarray(outputs[self.scores], np.float32).reshape(boxes.shape[:2])
            labels = np.rint(np.asarray(outputs[self.labels], np.float64)).astype(np.int64)
            labels = labels.reshape(boxes.shape[:2])
            return [chosen(*one, selection) for one in zip(boxes, scores, labels, strict=True)]
        values = self._rows(outputs[self.scores])
        scores = self._probabilities(values[..., 4:] if self.scores == self.boxes else values)
        found = select if self.nms else best_pairs
        return [found(b, s, selection) for b, s in zip(boxes, scores, strict=True)]

    def _rows(self, output: NDArray[np.generic]) -> NDArray[np.float32]:
        values = np.asarray(output, np.float32)
        values = values[None] if values.ndim == 2 else values
        return values.transpose(0, 2, 1) if self.candidates == 2 else values

    def _corners(self, boxes: NDArray[np.float32]) -> NDArray[np.floating]:
        if self.box_format == "yxyx":
            boxes = boxes[..., [1, 0, 3, 2]]
        if self.units == "relative":
            boxes = boxes * np.array([self.width, self.height] * 2, np.float32)
        if self.box_format == "xywh":
            return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)
        return corners_from_centres(boxes) if self.box_format == "cxcywh" else boxes

    def _probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.activation == "sigmoid":
            scores = sigmoid(scores)
        elif self.activation == "softmax":
            scores = softmax(scores)
        if self.objectness:
            scores = scores[..., :1] * scores[..., 1:]
        return scores if self.background is None else np.delete(scores, self.background, axis=-1)


@dataclass(frozen=True)
class AsTold:
    """A convention with what the user says besides.

    Attributes:
        convention: It.
        mode: How pictures get into the model.
        names: Names of the classes; empty where they are not known.
    """

    convention: Convention
    mode: FitMode
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the family is called."""
        return self.convention.name

    @property
    def task(self) -> Task:
        """What it finds."""
        return self.convention.task

    @property
    def classes(self) -> int:
        """Number of classes; 0 where nothing shows it."""
        return self.convention.classes or len(self.names)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels, best first."""
        return self.convention.decode(outputs, selection)


def described(description: Description, facts: Facts, families: Sequence[type[Family]]) -> AsTold:
    """Return the convention of a detector that the user describes.

    Args:
        description: What they say.
        facts: What is known of the detector.
        families: All families.

    Raises:
        OptionError: The outputs are not as described.
    """
    try:
        if description.family:
            found = _of_family(description, facts, families)
        else:
            found = _of_outputs(description, facts)
        names = _class_names(description, facts, found.classes)
    except OptionError as error:
        raise OptionError(f"{description.path}: {error}") from error.__cause__
    return AsTold(found, description.fit or found.mode, names)


def _of_outputs(description: Description, facts: Facts) -> Described:
    boxes, scores = _names(description, facts)
    labels = description.labels
    axis = description.candidates
    box_shape, score_shape = _arranged(facts, boxes, axis), _arranged(facts, scores, axis)
    columns = box_shape[-1] if box_shape else 0
    if len(box_shape) != 3 or columns < 4 or (columns > 4 and boxes != scores):
        wanted = "N x A x 4" if axis == 1 else "N x 4 x A"
        raise OptionError(f"the boxes {boxes!r} are not {wanted} in {facts.shape_text()}")
    count = 0
    if labels:
        sizes = [int(np.prod(facts.outputs[name])) for name in (scores, labels)]
        if set(sizes) != {box_shape[0] * box_shape[1]}:
            raise OptionError(
                f"boxes {boxes!r}, scores {scores!r} and labels {labels!r} are not of as many "
                f"candidates in {facts.shape_text()}"
            )
    else:
        if len(score_shape) != 3 or score_shape[1] != box_shape[1]:
            raise OptionError(
                f"the scores {scores!r} are not those of {box_shape[1]} boxes in "
                f"{facts.shape_text()}"
            )
        columns = score_shape[2] - (4 if boxes == scores else 0) - description.objectness
        background = description.background
        if background is not None and not -columns <= background < columns:
            raise OptionError(f"there is no column {background} in scores of {columns} columns")
        count = columns - (background is not None)
        if count < 1:
            raise OptionError(f"the scores {scores!r} have no column left for a class")
    return Described(
        boxes,
        scores,
        labels,
        description.box_format,
        description.units,
        description.activation,
        description.background,
        description.objectness,
        axis,
        description.nms,
        count or len(description.classes or facts.names),
        facts.height,
        facts.width,
    )


def _names(description: Description, facts: Facts) -> tuple[str, str]:
    """The outputs of boxes and scores; those that are not named are told by their shapes."""
    boxes, scores, axis = description.boxes, description.scores, description.candidates
    for key, name in (("boxes", boxes), ("scores", scores), ("labels", description.labels)):
        if name and name not in facts.outputs:
            raise OptionError(f"there is no output {name!r} for {key} in {facts.shape_text()}")
    if not boxes:
        found = [name for name in facts.outputs if _arranged(facts, name, axis)[-1:] == (4,)]
        found = [name for name in found if name not in (scores, description.labels)]
        if len(found) != 1:
            raise OptionError(f"name the output of the boxes (boxes = ...): {facts.shape_text()}")
        (boxes,) = found
    if not scores:
        found = [name for name in facts.outputs if name not in (boxes, description.labels)]
        if len(found) != 1:
            raise OptionError(f"name the output of the scores (scores = ...): {facts.shape_text()}")
        (scores,) = found
    return boxes, scores


def _arranged(facts: Facts, name: str, axis: int) -> tuple[int, ...]:
    """The shape of an output with the candidates before the columns, and with a batch."""
    shape = facts.outputs.get(name, ())
    shape = (1, *shape) if len(shape) == 2 else shape
    return (shape[0], shape[2], shape[1]) if axis == 2 and len(shape) == 3 else shape


def _class_names(description: Description, facts: Facts, count: int) -> tuple[str, ...]:
    """The names that the user gives, or else those in the file if they are as many."""
    if count and description.classes and len(description.classes) != count:
        raise OptionError(
            f"classes has {len(description.classes)} names, but the outputs are of {count} classes"
        )
    names = description.classes or facts.names
    return names if not count or len(names) == count else ()


def _of_family(
    description: Description, facts: Facts, families: Sequence[type[Family]]
) -> Convention:
    family, anchors = description.family, description.anchors
    are_heads = all(len(shape) in (4, 5) for shape in facts.outputs.values())
    if family in _HEADS and are_heads and (anchors or family != "yolov3"):
        if isinstance(anchors, Path):
            raise OptionError(f"the anchors of {family} are [[width, height], ...], not a file")
        found: Convention | None = _heads(family, facts, anchors or _HEADS[family])
    else:
        found = _told(description, _ALIASES.get(family, family), facts, families)
    if found is None:
        raise OptionError(f"the outputs ({facts.shape_text()}) are not those of {family}")
    return found


def _told(
    description: Description, name: str, facts: Facts, families: Sequence[type[Family]]
) -> Convention | None:
    """The convention of the family, which need not be sure any more."""
    family = next((one for one in families if one.name == name), None)
    if family is None:
        known = ", ".join(sorted({*(one.name for one in families), *_ALIASES}))
        raise OptionError(f"family is {description.family!r}, but must be one of {known}")
    anchors, path = facts.anchors, facts.anchors_path
    if isinstance(description.anchors, Path):
        path = description.anchors
        anchors = read_anchors(path)
    elif description.anchors:
        raise OptionError(f"{description.family} has no anchors of [width, height]; leave them out")
    metadata = {key: value for key, value in facts.metadata.items() if key != "task"}
    if description.classes:
        metadata["names"] = repr(list(description.classes))
    if description.keypoints is not None:
        metadata["kpt_shape"] = repr(list(description.keypoints))
    if description.task is not None:
        metadata["task"] = description.task
    return family.of(
        replace(facts, metadata=metadata, anchors=anchors, anchors_path=path, family=name)
    )


def _heads(
    family: str, facts: Facts, anchors: tuple[tuple[float, float], ...]
) -> AnchorHeads | None:
    """Raw heads with anchors; as many in each cell as the anchors are for so many heads."""
    count, rest = divmod(len(anchors), len(facts.outputs))
    grids = {grid_of(shape): name for name, shape in facts.outputs.items()}
    strides = strides_of(facts.size, grids)
    if len(grids) != len(facts.outputs) or strides not in RUNS:
        return None
    if rest:
        raise OptionError(
            f"{len(anchors)} anchors cannot be shared out among {len(grids)} heads evenly"
        )
    classes = {classes_of(shape, count) for shape in facts.outputs.values()}
    number = classes.pop()
    if classes or number is None:
        return None
    heads = tuple(
        Head(grids[size], stride, anchors[index * count : (index + 1) * count])
        for index, (stride, size) in enumerate(zip(strides, sorted(grids)[::-1], strict=True))
    )
    sizes: Sizes = "exponential" if family == "yolov3" else "square"
    return AnchorHeads(heads, number, family, sizes)
