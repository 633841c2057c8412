"""SSD: classes that compete with background, and offsets from anchors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir

from zqc.autodiff.emitter import Emitter, dims
from zqc.detection.conventions.ssd import SsdLite
from zqc.detection.conventions.tracing import Activation
from zqc.detection.losses.by_overlap import hardest
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.entropy import Goal, competing_entropy, cross_entropy, labelled
from zqc.detection.losses.logits import logits
from zqc.detection.losses.offsets import Coder
from zqc.detection.losses.writing import Pen


@dataclass(frozen=True)
class MultiBox:
    """The loss of SSD: with t the targets of candidates, t · smooth L1(offsets) + entropy(class).

    The entropy is that of a softmax or, where each class has a sigmoid of its own as in the
    TensorFlow Object Detection API, the sum over them; it counts where it is counted (Liu et al.,
    SSD, section 2.2).

    Attributes:
        coder: How offsets are written.
    """

    coder: Coder

    def terms(
        self, pen: Pen, found: Candidates, goal: Goal, places: Places
    ) -> tuple[list[ir.Value], list[ir.Node]]:
        """Append the parts, see ``loss.Terms``."""
        said, wanted = (
            self.coder.offsets(pen, boxes, places) for boxes in (found.boxes, goal["goal_boxes"])
        )
        distance = pen.sum(_smooth(pen, pen("Sub", said, wanted)), [-1], keep=True)
        one_hot = labelled(pen, found, goal)
        if found.background is None:
            entropy = pen.sum(cross_entropy(pen, found.logits, one_hot), [-1], keep=True)
        else:
            entropy = competing_entropy(pen, found.logits, one_hot)
        parts = [
            pen("Mul", distance, goal["goal_targets"]),
            pen("Mul", entropy, goal["goal_counted"]),
        ]
        return parts, []


def ssd(convention: SsdLite, activation: Activation) -> DetectorLoss:
    """The loss of an SSD.

    Boxes are judged by their offsets, as SSDs are trained: they are what the head gives, and the
    factors make those of all anchors as large.

    Args:
        convention: How its outputs are written.
        activation: What the scores have been through.
    """
    pixels = np.array([convention.width, convention.height] * 2, np.float32)
    places = Places.of_anchors(convention.anchors[:, [1, 0, 3, 2]] * pixels)
    coder = Coder(10.0, 5.0, x_first=convention.x_first)
    return DetectorLoss(
        outputs=(convention.boxes, convention.scores),
        classes=convention.classes,
        size=(convention.height, convention.width),
        places=places,
        gains=MultiBox(coder),
        assign=hardest,
        read=partial(_read, convention, activation, coder, places),
    )


def _read(
    convention: SsdLite,
    activation: Activation,
    coder: Coder,
    places: Places,
    emitter: Emitter,
    outputs: Mapping[str, ir.Value],
) -> Candidates:
    pen, scores = Pen(emitter, "candidates"), outputs[convention.scores]
    boxes = coder.boxes(pen, outputs[convention.boxes], places)
    found = logits(pen, scores, activation)
    count = dims(scores)[0]
    assert isinstance(count, int)  # the graph is cut out for one size
    sizes = count, len(places.points), convention.classes
    if activation == "sigmoid":
        found = pen.shaped(pen.part(found, 1, convention.classes + 1), *sizes)
        return Candidates(boxes, found)
    found = pen.shaped(found, *sizes[:2], convention.classes + 1)
    return Candidates(boxes, found, background="first")


def _smooth(pen: Pen, value: ir.Value) -> ir.Value:
    """x²/2 up to |x| = 1, and |x| − 1/2 beyond: m·(|x| − m/2) with m = min(|x|, 1)."""
    size = pen("Abs", value)
    near = pen("Min", size, 1.0)
    return pen("Mul", near, pen("Sub", size, pen("Mul", near, 0.5)))
