"""How far the detections of a quantized model are from those of the float one, as nodes."""

from __future__ import annotations

import onnx_ir as ir

from zqc.autodiff.emitter import Emitter
from zqc.detection.losses.candidates import Candidates
from zqc.detection.losses.overlap import complete_iou
from zqc.detection.losses.writing import Pen

LEAST_SCORE, LEAST_OVERLAP = 2e-4, 0.1
"""Boxes count from this score of the float model and this overlap on (Reg-PTQ, CVPR 2024)."""

_BOX = 5.0
"""Weight of the boxes, beside that of the classes: about as YOLOs are trained. Our choice."""


def agreement_loss(
    emitter: Emitter, student: Candidates, teacher: Candidates, *, filtered: bool = True
) -> tuple[ir.Value, list[ir.Node]]:
    """The loss between the candidates of two models, which are paired by their places.

    The filtered global loss of Reg-PTQ (CVPR 2024), before non-maximum suppression and without
    labels. With p the float model's class probabilities, o its objectness (1 where there is none),
    s the largest score of a candidate, and T = max(1, Σ s) of a picture, it is

        (1/T) Σ [ o · Σ_c KL(p_c ‖ p̂_c) + KL(o ‖ ô) + 5 · s · (1 − CIoU) ],

    the last term where s ≥ 2·10⁻⁴ and CIoU ≥ 0.1. KL is that of two outcomes, or of all classes
    where they compete: the cross entropy less what it is at best, so that equal models have none.
    Reg-PTQ has the cross entropy and a distance of boxes of a norm and a weight that it does not
    tell; T, s as a weight, and the CIoU are our choice.

    Args:
        emitter: Appends to the graph.
        student: What the quantized model says, (N, A, …).
        teacher: What the float model says.
        filtered: Whether s and CIoU have to be as large as that.

    Returns:
        A scalar, the sum over the pictures, and the nodes that no gradient goes through, see
        ``complete_iou``.
    """
    pen = Pen(emitter, "agreement")
    score = emitter.largest(teacher.scores(emitter), [-1], "agreement")
    apart = _divergence if student.background is None else _competing_divergence
    classes = pen.sum(apart(pen, student.logits, teacher.logits), [-1], keep=True)
    terms = classes
    if student.objectness is not None and teacher.objectness is not None:
        there = pen("Sigmoid", teacher.objectness)
        objects = _divergence(pen, student.objectness, teacher.objectness)
        terms = pen("Add", pen("Mul", classes, there), objects)
    overlap, around = complete_iou(emitter, student.boxes, teacher.boxes)
    weight = pen("Mul", score, _BOX)
    if filtered:
        sure = pen("Not", pen("Less", score, LEAST_SCORE))
        near = pen("Not", pen("Less", overlap, LEAST_OVERLAP))
        weight = pen("Mul", weight, pen.float(pen("And", sure, near)))
    terms = pen("Add", terms, pen("Mul", pen("Sub", 1.0, overlap), weight))
    share = pen("Max", pen.sum(score, [1], keep=True), 1.0)
    return pen.shaped(pen("ReduceSum", pen("Div", terms, share), keepdims=0)), around


def _divergence(pen: Pen, student: ir.Value, teacher: ir.Value) -> ir.Value:
    """KL of two outcomes from their logits: softplus(x̂) − softplus(x) − σ(x)·(x̂ − x)."""
    apart = pen("Sub", pen("Softplus", student), pen("Softplus", teacher))
    along = pen("Mul", pen("Sigmoid", teacher), pen("Sub", student, teacher))
    return pen("Sub", apart, along)


def _competing_divergence(pen: Pen, student: ir.Value, teacher: ir.Value) -> ir.Value:
    """The summands of the KL of two softmaxes from their logits."""
    apart = pen("Sub", *(pen("LogSoftmax", one, axis=-1) for one in (teacher, student)))
    return pen("Mul", pen("Softmax", teacher, axis=-1), apart)
