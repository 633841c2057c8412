"""What a convention is, and what it is recognised from."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self

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
    """

    outputs: Shapes
    height: int
    width: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    graph: ir.Graph | None = None
    parts: tuple[OutputPart, ...] = ()
    anchors: NDArray[np.float32] | None = None
    anchors_path: Path | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, as Ultralytics writes them; empty where the file names none."""
        try:
            names = ast.literal_eval(self.metadata.get("names", ""))
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return ()
        if isinstance(names, dict):
            names = [names.get(index) for index in range(len(names))]
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            return ()
        return tuple(names)

    def shape_text(self) -> str:
        """The outputs with their sizes, for messages."""
        return ", ".join(f"{n} {' x '.join(map(str, s))}" for n, s in self.outputs.items())


class Convention(Protocol):
    """How the outputs of one family of detectors are read.

    Attributes:
        name: What the family is called.
        task: What it finds.
        mode: How pictures usually get into such models.
    """

    name: ClassVar[str]
    task: ClassVar[Task]
    mode: ClassVar[FitMode]

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Return how a detector's outputs are read, or None where it is none of this family.

        Raises:
            OptionError: The user gave something for it that does not fit.
        """
        ...

    @property
    def classes(self) -> int:
        """Number of classes."""
        ...

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels, best first."""
        ...
