"""The loss of candidates against what they are to predict, as nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.autodiff.emitter import Emitter, dims
from zqc.detection.losses.assignment import Assignment, Objects
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.entropy import Goal, cross_entropy, labelled
from zqc.detection.losses.overlap import complete_iou
from zqc.detection.losses.writing import Pen

GOALS = ("goal_boxes", "goal_classes", "goal_targets", "goal_counted")
"""Inputs of the graph: for each candidate the box and the class of its object, -1 for none, and
target and counted as in ``Assignment``; (N, A, 4), and (N, A, 1) the others."""


_A_PIXEL = Objects(np.array([[0, 0, 1, 1]], np.float32), np.zeros(1, np.int64))


class Terms(Protocol):
    """What the loss of a family is made of."""

    def terms(
        self, pen: Pen, found: Candidates, goal: Goal, places: Places
    ) -> tuple[list[ir.Value], list[ir.Node]]:
        """Append its parts for each candidate, with their weights.

        Args:
            pen: Appends to the graph.
            found: What the network predicts, (N, A, …), all shapes known.
            goal: The inputs of ``GOALS``.
            places: Where the candidates stand.

        Returns:
            The parts, each (N, A, 1), and the nodes that no gradient goes through, see
            ``complete_iou``.
        """
        ...


@dataclass(frozen=True)
class Gains:
    """The loss of YOLOs.

    With t the targets of candidates it is

        g_box · t (1 − CIoU) + g_class · BCE(class) + g_dist · t · DFL.

    Without objectness the classes of all candidates that are counted count, with the target for the
    object's class (Feng et al., TOOD). With it those of the candidates that have an object count,
    with a 1 for its class, and g_obj · BCE(objectness, t) is added where it is counted (Redmon &
    Farhadi, YOLOv3). DFL is the cross entropy of a distribution against the two bins next to the
    distance, mean over the sides (Li et al., Generalized Focal Loss, 2020).

    Attributes:
        box: Weight of 1 − CIoU.
        classes: Of the cross entropy of the classes.
        distribution: Of the cross entropy of the distributions of the sides.
        objectness: Of the cross entropy of the objectness.
    """

    box: float = 7.5
    classes: float = 0.5
    distribution: float = 1.5
    objectness: float = 0.0

    def terms(
        self, pen: Pen, found: Candidates, goal: Goal, places: Places
    ) -> tuple[list[ir.Value], list[ir.Node]]:
        """Append the parts, see ``Terms``."""
        target, label = goal["goal_targets"], goal["goal_classes"]
        one_hot = labelled(pen, found, goal)
        overlap, around = complete_iou(pen.emitter, found.boxes, goal["goal_boxes"])
        parts = [pen("Mul", pen("Mul", pen("Sub", 1.0, overlap), target), self.box)]
        if found.objectness is None:
            entropy = cross_entropy(pen, found.logits, pen("Mul", one_hot, target))
            entropy = pen("Mul", entropy, goal["goal_counted"])
        else:
            taken = pen.float(pen("Greater", label, pen.array(-1, np.int64)))
            entropy = pen("Mul", cross_entropy(pen, found.logits, one_hot), taken)
            there = pen("Mul", cross_entropy(pen, found.objectness, target), goal["goal_counted"])
            parts.append(pen("Mul", there, self.objectness))
        parts.append(pen("Mul", pen.sum(entropy, [-1], keep=True), self.classes))
        if found.bins is not None:
            spread = _distribution(pen, found.bins, goal["goal_boxes"], places)
            parts.append(pen("Mul", pen("Mul", spread, target), self.distribution))
        return parts, around


def goal_inputs(count: int, candidates: int) -> dict[str, ir.Value]:
    """The inputs of ``GOALS`` for so many pictures with so many candidates."""
    types = (ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.FLOAT, ir.DataType.FLOAT)
    return {
        name: ir.Value(
            name=name,
            shape=ir.Shape((count, candidates, 4 if name == GOALS[0] else 1)),
            type=ir.TensorType(dtype),
        )
        for name, dtype in zip(GOALS, types, strict=True)
    }


def goals(
    objects: Sequence[Objects], assigned: Sequence[Assignment]
) -> dict[str, NDArray[np.generic]]:
    """The arrays for ``GOALS``. A candidate without an object has the box of the first.

    Where there is none, it has one of a pixel.
    """
    objects = [one if len(one) else _A_PIXEL for one in objects]
    places = [np.maximum(one.owner, 0) for one in assigned]
    boxes = [one.boxes[place] for one, place in zip(objects, places, strict=True)]
    classes = [
        np.where(goal.owner < 0, -1, one.classes[place])
        for one, place, goal in zip(objects, places, assigned, strict=True)
    ]
    return {
        "goal_boxes": np.stack(boxes).astype(np.float32),
        "goal_classes": np.stack(classes)[..., None].astype(np.int64),
        "goal_targets": np.stack([goal.target for goal in assigned])[..., None],
        "goal_counted": np.stack([goal.counted for goal in assigned])[..., None],
    }


def detection_loss(
    emitter: Emitter, found: Candidates, goal: Goal, places: Places, gains: Terms
) -> tuple[ir.Value, list[ir.Node]]:
    """The loss, summed over the pictures of a batch: that of a picture is Σ terms / max(1, Σ t).

    With t the targets of the candidates. Others take Σ t over the batch; by picture, what a picture
    is worth does not depend on which others are in its batch.

    Args:
        emitter: Appends to the graph.
        found: What the network predicts, (N, A, …), all shapes known.
        goal: The inputs of ``GOALS``.
        places: Where the candidates stand.
        gains: The terms.

    Returns:
        A scalar, and the nodes that no gradient goes through, see ``complete_iou``.
    """
    pen = Pen(emitter, "detection")
    parts, around = gains.terms(pen, found, goal, places)
    total = reduce(lambda one, other: pen("Add", one, other), parts)
    share = pen("Max", pen.sum(goal["goal_targets"], [1], keep=True), 1.0)
    return pen.shaped(pen("ReduceSum", pen("Div", total, share), keepdims=0)), around


def _distribution(pen: Pen, bins: ir.Value, boxes: ir.Value, places: Places) -> ir.Value:
    """Cross entropy against the two bins next to the distance, mean over the sides, (N, A, 1).

    A bin r has the weight max(0, 1 − |r − distance|).
    """
    count = dims(bins)[-1]
    assert isinstance(count, int)
    points, strides = pen.array(places.points), pen.array(places.strides)
    low = pen("Sub", points, pen.part(boxes, 0, 2))
    high = pen("Sub", pen.part(boxes, 2, 4), points)
    sides = pen("Div", pen("Concat", low, high, axis=-1), strides)
    sides = pen("Clip", sides, 0.0, count - 1 - 0.01)
    away = pen("Abs", pen("Sub", pen("Unsqueeze", sides, [-1]), pen.array(np.arange(count))))
    weight = pen("Relu", pen("Sub", 1.0, away))
    logs = pen("LogSoftmax", bins, axis=-1)
    each = pen("Neg", pen.sum(pen("Mul", weight, logs), [-1]))
    return pen("Mul", pen.sum(each, [-1], keep=True), 0.25)
