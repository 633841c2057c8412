"""The loss of one detector: how its candidates are read, assigned and weighed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.autodiff.emitter import Emitter
from zqc.detection.conventions.convention import Size
from zqc.detection.losses.assignment import Assignment, Objects
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.entropy import Goal
from zqc.detection.losses.loss import Terms, detection_loss, goal_inputs

Read = Callable[[Emitter, Mapping[str, ir.Value]], Candidates]
Assign = Callable[
    [NDArray[np.floating], NDArray[np.floating], Objects, Places],
    Assignment,
]


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectorLoss:
    """What a detector is trained with.

    Attributes:
        outputs: Names of the outputs that it is computed from.
        classes: Number of classes.
        size: Height and width of the input in pixels.
        places: Where the candidates stand.
        gains: Its parts and their weights.
        assign: Says for one picture what its candidates are to predict, be there objects or not.
        read: From the values of the outputs, whose shapes are known, to candidates.
        picked: Whether the graph picks the candidates by their values: which is which is that of
            one picture then, and another one's as soon as a pixel changes.
    """

    outputs: tuple[str, ...]
    classes: int
    size: Size
    places: Places
    gains: Terms
    assign: Assign
    read: Read
    picked: bool = False

    @property
    def candidates(self) -> int:
        """The number of candidates of a picture."""
        return len(self.places.points)

    def inputs(self, count: int) -> dict[str, ir.Value]:
        """What the graph of ``loss`` needs besides, for so many pictures."""
        return goal_inputs(count, self.candidates)

    def loss(
        self, emitter: Emitter, found: Candidates, goal: Goal
    ) -> tuple[ir.Value, list[ir.Node]]:
        """Append the loss summed over a batch, see ``detection_loss``."""
        return detection_loss(emitter, found, goal, self.places, self.gains)

    def assigned(
        self,
        boxes: NDArray[np.floating],
        scores: NDArray[np.floating],
        objects: Sequence[Objects],
    ) -> tuple[Assignment, ...]:
        """Assign picture by picture, from boxes (N, A, 4) and scores (N, A, C)."""
        rows = zip(boxes, scores, objects, strict=True)
        return tuple(self.assign(b, s, one, self.places) for b, s, one in rows)
