"""Maps of where there is text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import ints, producer_of
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.regions import connected, grown, mean_inside, smallest_rectangle
from zqc.detection.conventions.tracing import output_value
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection
from zqc.detection.rotated import upright
from zqc.detection.upstream import layers_before
from zqc.pictures.input_format import FitMode

_TEXT = 0.3
_LEAST_SCORE = 0.6
_LEAST_SIDE = 3.0
_GROWTH = 1.5


@dataclass(frozen=True)
class DbNet:
    """DBNet: one map N × 1 × h × w of how likely each pixel of the input is text.

    Pixels above 0.3 that are connected are one text. Its score is the mean of the map in the
    smallest rectangle around it, at least 0.6. As the network learns texts that are shrunk, the
    rectangle grows on all sides by 1.5 · area / perimeter (Liao et al., Differentiable
    Binarization, section 3.5, with the limits of PaddleOCR).

    Attributes:
        output: Name of the output.
    """

    name: ClassVar[str] = "dbnet"
    task: ClassVar[Task] = "text"
    mode: ClassVar[FitMode] = "letterbox"
    output: str

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """One output N × 1 × h × w of the size of the input, behind Sigmoid.

        Its layers are DBNet's: two transposed convolutions, each of which doubles the size. Other
        maps of one channel, such as masks, come from a convolution; the user may say that one is a
        DBNet all the same.
        """
        if len(facts.outputs) != 1:
            return None
        [(name, shape)] = facts.outputs.items()
        if shape[1:] != (1, facts.height, facts.width):
            return None
        if facts.family == cls.name:
            return cls(name)
        node = producer_of(output_value(facts, name))
        if node is None or node.op_type != "Sigmoid":
            return None
        last = layers_before([node])
        first = layers_before([producer_of(n.inputs[0]) for n in last])
        if not _double(last) or not _double(first):
            return None
        return cls(name)

    @property
    def classes(self) -> int:
        """Text is the only class."""
        return 1

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the texts in each picture of a batch, in input pixels."""
        maps = np.asarray(outputs[self.output], np.float32)[:, 0]
        return [_texts(each, selection.detections) for each in maps]


def _double(layers: set[ir.Node]) -> bool:
    return bool(layers) and all(
        node.op_type == "ConvTranspose" and ints(node, "strides", ()) == (2, 2) for node in layers
    )


def _texts(values: NDArray[np.float32], limit: int) -> Detections:
    found: list[tuple[float, NDArray[np.float64]]] = []
    for points in connected(values > _TEXT):
        rectangle, *sides = smallest_rectangle(points)
        if min(sides) < _LEAST_SIDE:
            continue
        score = mean_inside(values, rectangle)
        if score > _LEAST_SCORE:
            distance = _GROWTH * sides[0] * sides[1] / (2 * sum(sides))
            found.append((score, grown(rectangle, distance)))
    found.sort(key=lambda each: -each[0])
    corners = np.array([each[1] for each in found[:limit]], np.float32).reshape(-1, 4, 2)
    scores = np.array([each[0] for each in found[:limit]], np.float32)
    return Detections(upright(corners), scores, np.zeros(len(scores), np.int64), corners=corners)
