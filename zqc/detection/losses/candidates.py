"""What a detector says of each candidate, as values of a graph and as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.autodiff.emitter import Emitter
from zqc.detection.losses.writing import Pen


@dataclass(frozen=True)
class Candidates:
    """Values of a graph, of N pictures with A candidates each.

    Attributes:
        boxes: (x1, y1, x2, y2) in input pixels, (N, A, 4).
        logits: Of the classes, (N, A, C).
        objectness: Logit of whether there is an object, (N, A, 1); None where scores are those of
            the classes alone.
        bins: Before the softmax, the distributions of the distances to the left, upper, right and
            lower side in strides, (N, A, 4, R); None where boxes are predicted otherwise.
    """

    boxes: ir.Value
    logits: ir.Value
    objectness: ir.Value | None = None
    bins: ir.Value | None = None

    def scores(self, emitter: Emitter) -> ir.Value:
        """What is compared with thresholds, in 0…1, (N, A, C)."""
        pen = Pen(emitter, "scores")
        classes = pen("Sigmoid", self.logits)
        if self.objectness is None:
            return classes
        return pen("Mul", classes, pen("Sigmoid", self.objectness))


@dataclass(frozen=True, eq=False)
class Places:
    """Where the candidates stand, which their predictions do not change.

    Attributes:
        points: (x, y) of the cells in input pixels, (A, 2): where sides are measured from.
        strides: Of their grids, in pixels, (A, 1).
        anchors: Width and height of the anchors in pixels, (A, 2); None without anchors.
    """

    points: NDArray[np.float32]
    strides: NDArray[np.float32]
    anchors: NDArray[np.float32] | None = None
