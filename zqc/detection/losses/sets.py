"""The loss of DETRs: a set of queries, and which of them answers for which label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from zqc.detection.boxes import centres_from_corners, generalized_iou_matrix
from zqc.detection.losses.assignment import Assignment, Floats, Objects
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.entropy import (
    ALPHA,
    Goal,
    competing_entropy,
    focal_entropy,
    labelled,
)
from zqc.detection.losses.overlap import generalized_iou
from zqc.detection.losses.pairs import cheapest_pairs
from zqc.detection.losses.writing import Pen

_NOTHING = 0.1
"""What a query that has nothing to find counts where classes compete."""

_LEAST = 1e-8
"""Of a probability whose logarithm is taken."""


@dataclass(frozen=True)
class SetLoss:
    """With t the targets of queries, g_class · entropy(class) + t (5 · L1(box) + 2 (1 − GIoU)).

    Boxes are centre and size as shares of the input. Where classes compete, their entropy is that
    of the softmax (Carion et al., DETR, section 3.1 and appendix A.2), else the focal loss (Zhu et
    al., Deformable DETR). The same numbers, without the logarithm, are what a pair of query and
    object costs.

    Attributes:
        competing: Whether they do.
        classes: Weight of the entropy.
        shares: Of the L1 distance.
        hull: Of the GIoU.
    """

    competing: bool
    classes: float
    shares: float = 5.0
    hull: float = 2.0

    def terms(
        self, pen: Pen, found: Candidates, goal: Goal, places: Places
    ) -> tuple[list[ir.Value], list[ir.Node]]:
        """Append the parts, see ``loss.Terms``."""
        boxes, target = goal["goal_boxes"], goal["goal_targets"]
        one_hot = labelled(pen, found, goal)
        if self.competing:
            entropy = competing_entropy(pen, found.logits, one_hot)
        else:
            entropy = pen.sum(focal_entropy(pen, found.logits, one_hot, 2), [-1], keep=True)
        overlap = generalized_iou(pen.emitter, found.boxes, boxes)
        distance = pen("Mul", _shares(pen, found.boxes, boxes, places), self.shares)
        apart = pen("Mul", pen("Sub", 1.0, overlap), self.hull)
        parts = [
            pen("Mul", pen("Mul", entropy, goal["goal_counted"]), self.classes),
            pen("Mul", pen("Add", distance, apart), target),
        ]
        return parts, []

    def matched(
        self, boxes: Floats, scores: Floats, objects: Objects, places: Places
    ) -> Assignment:
        """The queries that cost least for all objects together, one for each.

        Where classes compete, a query without an object counts a tenth, and the entropy is the mean
        by what they count, as theirs is.

        Args: See ``assignment.task_aligned``.
        """
        owner = np.full(len(boxes), -1, np.int64)
        if len(objects):
            pairs = cheapest_pairs(self._costs(boxes, scores, objects, places))
            found = np.flatnonzero(pairs >= 0)
            owner[pairs[found]] = found
        taken = owner >= 0
        counted = np.ones(len(boxes))
        if self.competing:
            counted = np.where(taken, 1.0, _NOTHING)
            counted *= max(1, taken.sum()) / counted.sum()  # the loss is divided by the objects
        return Assignment(owner, taken.astype(np.float32), counted.astype(np.float32))

    def _costs(self, boxes: Floats, scores: Floats, objects: Objects, places: Places) -> Floats:
        """Of each object with each query, (M, A)."""
        assert places.anchors is not None  # the input, which boxes are shares of
        likely = scores.T[objects.classes].astype(np.float64)
        wanted, said = objects.boxes.astype(np.float64), boxes.astype(np.float64)
        size = np.tile(places.anchors[0], 2)
        centres = centres_from_corners(wanted)[:, None] - centres_from_corners(said)[None]
        distance = np.abs(centres / size).sum(axis=-1)
        kind = -likely if self.competing else _focal_cost(likely)
        overlap = generalized_iou_matrix(wanted, said)
        costs: Floats = self.classes * kind + self.shares * distance - self.hull * overlap
        return costs


def _focal_cost(p: Floats) -> Floats:
    """What it costs more to be asked for a class than to be asked for none."""
    asked = -ALPHA * (1 - p) ** 2 * np.log(p + _LEAST)
    free = -(1 - ALPHA) * p**2 * np.log(1 - p + _LEAST)
    cost: Floats = asked - free
    return cost


def _shares(pen: Pen, one: ir.Value, other: ir.Value, places: Places) -> ir.Value:
    """|Δx|/W + |Δy|/H of the centres, and |Δw|/W + |Δh|/H, (N, A, 1)."""
    assert places.anchors is not None
    low, high = (
        pen("Sub", pen.part(one, start, start + 2), pen.part(other, start, start + 2))
        for start in (0, 2)
    )
    centre = pen("Mul", pen("Add", low, high), 0.5)
    both = pen("Add", pen("Abs", centre), pen("Abs", pen("Sub", high, low)))
    return pen.sum(pen("Div", both, pen.array(places.anchors)), [-1], keep=True)
