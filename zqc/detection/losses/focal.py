"""The loss of detectors whose classes have a focal loss: RetinaNet, EfficientDet, FCOS."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.entropy import Goal, cross_entropy, focal_entropy, labelled
from zqc.detection.losses.overlap import generalized_iou
from zqc.detection.losses.writing import Pen

_TINY = 1e-9


@dataclass(frozen=True)
class Focal:
    """With t the targets of candidates, t (1 − GIoU) + focal(class) + t · BCE(centerness).

    All classes count where they are counted. What is central is √(min(l, r)/max(l, r) ·
    min(t, b)/max(t, b)), with the distances to the sides of the object's box (Tian et al., FCOS,
    section 3.3). Lin et al. have the smooth L1 of the offsets, FCOS the logarithm of the IoU; GIoU
    is what both are trained with since, and has the same weight for all families.

    Attributes:
        power: γ of the focal loss.
    """

    power: float = 2.0

    def terms(
        self, pen: Pen, found: Candidates, goal: Goal, places: Places
    ) -> tuple[list[ir.Value], list[ir.Node]]:
        """Append the parts, see ``loss.Terms``."""
        boxes, target = goal["goal_boxes"], goal["goal_targets"]
        overlap = generalized_iou(pen.emitter, found.boxes, boxes)
        entropy = focal_entropy(pen, found.logits, labelled(pen, found, goal), self.power)
        classes = pen.sum(entropy, [-1], keep=True)
        parts = [
            pen("Mul", pen("Sub", 1.0, overlap), target),
            pen("Mul", classes, goal["goal_counted"]),
        ]
        if found.objectness is not None:
            central = cross_entropy(pen, found.objectness, _centerness(pen, boxes, places))
            parts.append(pen("Mul", central, target))
        return parts, []


def _centerness(pen: Pen, boxes: ir.Value, places: Places) -> ir.Value:
    """How central the places are in boxes, in 0…1, (N, A, 1); 0 outside."""
    points = pen.array(places.points)
    low = pen("Sub", points, pen.part(boxes, 0, 2))
    high = pen("Sub", pen.part(boxes, 2, 4), points)
    near, far = pen("Relu", pen("Min", low, high)), pen("Max", pen("Max", low, high), _TINY)
    return pen("Sqrt", pen.product(pen("Div", near, far)))
