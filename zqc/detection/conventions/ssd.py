"""SSD: boxes relative to anchors that the user gives, and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.functions import softmax
from zqc.detection.conventions.torchvision import from_heads
from zqc.detection.conventions.tracing import output_activation
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.errors import OptionError
from zqc.pictures.input_format import FitMode

_LANDMARKS = 10


@dataclass(frozen=True, eq=False)
class SsdLite:
    """SSD with the box coder of the TensorFlow Object Detection API: two outputs.

    Boxes N × A × 4 are (ty, tx, th, tw) relative to anchors (cy, cx, h, w):
    cy' = ty / 10 · h + cy, h' = exp(th / 5) · h, and the same for x (Liu et al., SSD, section 2.2,
    with the usual variances 0.1 and 0.2). Scores N × A × K are in 0…1; column 0 is background.

    The heads of torchvision's SSD are the same, but for x before y and logits whose softmax are the
    scores; RetinaFace (Deng et al.) has x before y, and landmarks N × A × 10, which are left aside.

    Attributes:
        boxes: Name of the output with the boxes.
        scores: Name of the output with the scores.
        anchors: (cy, cx, h, w) relative to the input, shape (A, 4).
        classes: Number of classes, K − 1.
        height: Height of the input in pixels.
        width: Its width.
        x_first: Whether boxes are (tx, ty, tw, th).
        logits: Whether the scores are still to go through the softmax.
    """

    name: ClassVar[str] = "ssdlite"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "stretch"
    boxes: str
    scores: str
    anchors: NDArray[np.float32]
    classes: int
    height: int
    width: int
    x_first: bool = False
    logits: bool = False

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Two outputs N × A × 4 and N × A × K with K ≥ 2, and A anchors that the user gave.

        Should both have 4 columns, the first holds the boxes. A third output N × A × 10 may hold
        the landmarks of a RetinaFace. Logits are known from torchvision alone.
        """
        anchors, path, outputs = facts.anchors, facts.anchors_path, facts.outputs
        if anchors is None:
            return None
        landmarks = [name for name, shape in outputs.items() if shape[2:] == (_LANDMARKS,)]
        if len(outputs) == 3 and len(landmarks) == 1:
            outputs = {name: shape for name, shape in outputs.items() if name not in landmarks}
        three = {name: shape for name, shape in outputs.items() if len(shape) == 3}
        boxes = next((name for name, shape in three.items() if shape[2] == 4), None)
        scores = next((name for name in three if name != boxes), None)
        if len(outputs) != 2 or boxes is None or scores is None or three[scores][2] < 2:
            raise OptionError(
                f"anchors were given ({path}), but the outputs {facts.shape_text()} are not the "
                "N x A x 4 boxes and N x A x K scores of an SSD; leave the anchors out"
            )
        if len({three[boxes][1], three[scores][1], len(anchors)}) != 1:
            raise OptionError(
                f"{path} holds {len(anchors)} anchors, but the outputs are {facts.shape_text()}; "
                "give the anchors that this model was trained with"
            )
        torchvision = all(from_heads(facts, name) for name in (boxes, scores))
        logits = output_activation(facts, scores) == "none"
        if logits and not torchvision:
            raise OptionError(
                f"anchors were given ({path}), but the scores {scores!r} are logits, and it is not "
                "known whether they go through a softmax or a sigmoid; export the model with it"
            )
        return cls(
            boxes,
            scores,
            anchors,
            three[scores][2] - 1,
            facts.height,
            facts.width,
            torchvision or len(outputs) < len(facts.outputs),
            logits,
        )

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        codes = np.asarray(outputs[self.boxes], np.float32)
        if self.x_first:
            codes = codes[..., [1, 0, 3, 2]]
        scores = np.asarray(outputs[self.scores], np.float32)
        scores = (softmax(scores) if self.logits else scores)[..., 1:]
        centre = codes[..., :2] / 10 * self.anchors[:, 2:] + self.anchors[:, :2]
        size = np.exp(np.minimum(codes[..., 2:] / 5, 20)) * self.anchors[:, 2:]
        pixels = np.array([self.width, self.height] * 2, np.float32)
        relative = np.concatenate([centre[..., ::-1], size[..., ::-1]], axis=-1)
        boxes = corners_from_centres(relative * pixels)
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]
