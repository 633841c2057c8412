"""What a detector says of each candidate, as values of a graph and as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.autodiff.emitter import Emitter, dims
from zqc.detection.losses.writing import Pen


@dataclass(frozen=True)
class Candidates:
    """Values of a graph, of N pictures with A candidates each.

    Attributes:
        boxes: (x1, y1, x2, y2) in input pixels, (N, A, 4).
        logits: Of the classes, (N, A, C), and of nothing besides where there is a background.
        objectness: Logit of whether there is an object, or of how central its place is in one,
            (N, A, 1); None where scores are those of the classes alone.
        bins: Before the softmax, the distributions of the distances to the left, upper, right and
            lower side in strides, (N, A, 4, R); None where boxes are predicted otherwise.
        background: Which of the logits means that there is nothing, where classes compete behind a
            softmax; None where each class has a sigmoid of its own.
        rooted: Whether a score is the root of the product of class and objectness.
    """

    boxes: ir.Value
    logits: ir.Value
    objectness: ir.Value | None = None
    bins: ir.Value | None = None
    background: Literal["first", "last"] | None = None
    rooted: bool = False

    @property
    def columns(self) -> tuple[int, ...]:
        """The class of each of the logits, -1 where it means that there is nothing."""
        count = dims(self.logits)[-1]
        assert isinstance(count, int)  # the graph is cut out for one size
        if self.background is None:
            return tuple(range(count))
        classes = range(count - 1)
        return (-1, *classes) if self.background == "first" else (*classes, -1)

    def scores(self, emitter: Emitter) -> ir.Value:
        """What is compared with thresholds, in 0…1, (N, A, C)."""
        pen = Pen(emitter, "scores")
        if self.background is not None:
            start, count = self.columns.index(0), len(self.columns)
            return pen.part(pen("Softmax", self.logits, axis=-1), start, start + count - 1)
        classes = pen("Sigmoid", self.logits)
        if self.objectness is None:
            return classes
        scores = pen("Mul", classes, pen("Sigmoid", self.objectness))
        return pen("Sqrt", scores) if self.rooted else scores


@dataclass(frozen=True, eq=False)
class Places:
    """Where the candidates stand, which their predictions do not change.

    Attributes:
        points: (x, y) of the cells in input pixels, (A, 2): where sides are measured from. Or the
            middles of the anchors.
        strides: Of their grids, in pixels, (A, 1); 1 where they stand on none.
        anchors: Width and height of the anchors in pixels, (A, 2); None without anchors.
    """

    points: NDArray[np.float32]
    strides: NDArray[np.float32]
    anchors: NDArray[np.float32] | None = None

    @classmethod
    def of_anchors(cls, anchors: NDArray[np.floating]) -> Places:
        """Of anchors (centre x, centre y, width, height) in input pixels, (A, 4)."""
        anchors = anchors.astype(np.float32)
        return cls(anchors[:, :2], np.ones((len(anchors), 1), np.float32), anchors[:, 2:])
