"""Cross entropies of classes, as nodes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from zqc.detection.losses.candidates import Candidates
from zqc.detection.losses.writing import Pen

ALPHA = 0.25
"""α of the focal loss."""

Goal = dict[str, ir.Value]
"""What candidates are to predict, by the names of ``loss.GOALS``."""


def labelled(pen: Pen, found: Candidates, goal: Goal) -> ir.Value:
    """1 for the class of a candidate's object, or for nothing, and 0 for all others, (N, A, C)."""
    columns = pen.array(found.columns, np.int64)
    return pen.float(pen("Equal", goal["goal_classes"], columns))


def cross_entropy(pen: Pen, logits: ir.Value, target: ir.Value) -> ir.Value:
    """−t·log σ(x) − (1 − t)·log(1 − σ(x)) = softplus(x) − t·x."""
    return pen("Sub", pen("Softplus", logits), pen("Mul", target, logits))


def competing_entropy(pen: Pen, logits: ir.Value, one_hot: ir.Value) -> ir.Value:
    """−log softmax(x) of the one that is right, (N, A, 1)."""
    logs = pen("LogSoftmax", logits, axis=-1)
    return pen("Neg", pen.sum(pen("Mul", one_hot, logs), [-1], keep=True))


def focal_entropy(pen: Pen, logits: ir.Value, one_hot: ir.Value, power: float) -> ir.Value:
    """α·|t − σ(x)|^γ times the cross entropy, with 1 − α where there is a 0, (N, A, C).

    Lin et al., Focal Loss for Dense Object Detection, 2017, section 3.2, with its α = 0.25.

    Args:
        pen: Appends to the graph.
        logits: x.
        one_hot: t, 0 or 1.
        power: γ.
    """
    off = pen("Abs", pen("Sub", one_hot, pen("Sigmoid", logits)))
    weight = pen("Add", pen("Mul", one_hot, 2 * ALPHA - 1), 1 - ALPHA)
    easy = pen("Mul", off, off) if power == 2 else pen("Pow", off, power)
    return pen("Mul", pen("Mul", easy, weight), cross_entropy(pen, logits, one_hot))
