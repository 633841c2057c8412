"""What a convention is, and what it is recognised from."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol, cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection
from zqc.detection.parts import OutputPart
from zqc.pictures.input_format import FitMode

Task = Literal["detect", "segment", "pose", "obb", "text"]
"""What a detector finds: boxes, boxes with masks, boxes with keypoints, rotated boxes, text."""

Outputs = Mapping[str, NDArray[np.generic]]
Shapes = Mapping[str, tuple[int, ...]]
Size = tuple[int, int]
"""Height and width, or rows and columns."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of a detector before it has seen a picture.

    Attributes:
        outputs: Name and shape of each output of the model, as a run on one batch gave them.
        height: Height of the input in pixels.
        width: Its width.
        metadata: What its file says of itself (``metadata_props``).
        graph: What computes the outputs, where it can be read.
        parts: Which values of the outputs are boxes and which are scores, as far as the graph shows
            it, see ``zqc.detection.parts``.
        anchors: Anchors that the user gave, (cy, cx, h, w) relative to the input, shape (A, 4).
        anchors_path: The file that they came from.
        family: The family that the user says it is of; empty where it is to be found out.
    """

    outputs: Shapes
    height: int
    width: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    graph: ir.Graph | None = None
    parts: tuple[OutputPart, ...] = ()
    anchors: NDArray[np.float32] | None = None
    anchors_path: Path | None = None
    family: str = ""

    @property
    def size(self) -> Size:
        """Height and width of the input in pixels."""
        return self.height, self.width

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, as Ultralytics writes them; empty where the file names none."""
        names = self._written("names")
        if isinstance(names, dict):
            names = [names.get(index) for index in range(len(names))]
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            return ()
        return tuple(names)

    @property
    def task(self) -> str:
        """What the file says that it is for, in the words of Ultralytics; empty without a word."""
        return self.metadata.get("task", "")

    @property
    def selected(self) -> bool:
        """Whether the file says that its rows are chosen detections, so that none is twice."""
        arguments = self._written("args")
        nms = arguments.get("nms") if isinstance(arguments, dict) else None
        return nms is True or self._written("end2end") is True

    @property
    def keypoints(self) -> tuple[int, int] | None:
        """Number of keypoints and of values of each, 2 or 3, where the file says so."""
        shape = self._written("kpt_shape")
        if not isinstance(shape, list | tuple) or len(shape) != 2:
            return None
        count, values = shape
        return (
            (count, values) if isinstance(count, int) and count > 0 and values in (2, 3) else None
        )

    def may_be(self, task: Task, classes: int | None = None) -> bool:
        """Whether the file does not contradict a task and a number of classes."""
        names = self.names
        return self.task in ("", task) and (classes is None or not names or len(names) == classes)

    def _written(self, key: str) -> object:
        """A value of the metadata that is written as Python; None where it is not."""
        try:
            return cast("object", ast.literal_eval(self.metadata.get(key, "")))
        except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError):
            return None

    def shape_text(self) -> str:
        """The outputs with their sizes, for messages."""
        return ", ".join(f"{n} {' x '.join(map(str, s))}" for n, s in self.outputs.items())


class Convention(Protocol):
    """How the outputs of a detector are read."""

    @property
    def name(self) -> str:
        """What the family is called."""
        ...

    @property
    def task(self) -> Task:
        """What it finds."""
        ...

    @property
    def mode(self) -> FitMode:
        """How pictures usually get into such models."""
        ...

    @property
    def classes(self) -> int:
        """Number of classes; 0 where nothing shows it."""
        ...

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels, best first."""
        ...


class Family(Protocol):
    """A family of detectors, which knows its own; most are conventions themselves."""

    name: ClassVar[str]

    @classmethod
    def of(cls, facts: Facts) -> Convention | None:
        """Return how a detector's outputs are read, or None where it is none of this family.

        Raises:
            OptionError: The user gave something for it that does not fit.
        """
        ...
