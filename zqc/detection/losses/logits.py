"""Logits of scores that have been through their activation, as nodes."""

from __future__ import annotations

import onnx_ir as ir

from zqc.detection.conventions.tracing import Activation
from zqc.detection.losses.writing import Pen

_LEAST = 1e-6
"""Of a probability whose logit is taken: the slope beyond would be lost in rounding."""


def logits(pen: Pen, scores: ir.Value, activation: Activation) -> ir.Value:
    """What the activation of scores is taken of, as the graph has it or else computed.

    Args:
        pen: Appends to the graph.
        scores: The scores; classes are on the last axis.
        activation: What they have been through.
    """
    if activation == "none":
        return scores
    node = scores.producer()
    source = None if node is None else node.inputs[0]
    if node is not None and source is not None:
        last = activation == "sigmoid" or _is_over_classes(node)
        if last and node.op_type == {"sigmoid": "Sigmoid", "softmax": "Softmax"}[activation]:
            return source
    if activation == "sigmoid":
        return logit(pen, scores)
    return pen("Log", pen("Clip", scores, _LEAST, 1.0))


def logit(pen: Pen, scores: ir.Value) -> ir.Value:
    """The inverse of the sigmoid: log p − log(1 − p)."""
    scores = pen("Clip", scores, _LEAST, 1 - _LEAST)
    return pen("Sub", pen("Log", scores), pen("Log", pen("Sub", 1.0, scores)))


def _is_over_classes(softmax: ir.Node) -> bool:
    """Whether a Softmax is taken over the last axis, of whatever opset from 13 on."""
    attribute = softmax.attributes.get("axis")
    axis = -1 if attribute is None else attribute.as_int()
    shape = softmax.outputs[0].shape
    return axis == -1 or (shape is not None and axis == len(shape) - 1)
