"""Cross entropies of classes, as nodes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from zqc.detection.losses.candidates import Candidates
from zqc.detection.losses.writing import Pen

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
