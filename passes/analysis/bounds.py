"""What is known of the values of a tensor before any picture is seen: an analysis, no edit."""

from __future__ import annotations

import math

import onnx_ir as ir

from passes.arithmetic import exponent_of, scales
from passes.graph import constant, int_attribute, scalar
from passes.operators import UP_TO_ONE

_FEW = 64
"""Values of a Softmax whose mean is at least four steps of the 8-bit grid up to 1."""


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Return (low, high) of a Clip, infinite where it has none; None where one is computed.

    None for any other operator, too.
    """
    if node.op_type != "Clip" or node.domain != "":
        return None
    found = []
    for index, default in ((1, -math.inf), (2, math.inf)):
        value = node.inputs[index] if index < len(node.inputs) else None
        bound = default if value is None else scalar(value)
        if bound is None:
            return None
        found.append(bound)
    return found[0], found[1]


def upper_bound(node: ir.Node) -> float | None:
    """Return h of a Clip(0, h), None for anything else; h may be infinite."""
    bounds = clip_bounds(node)
    return bounds[1] if bounds is not None and bounds[0] == 0 and bounds[1] > 0 else None


def known_bound(value: ir.Value) -> float | None:
    """Return the largest value that a tensor can have, if its producer keeps it within [0, h].

    1. Sigmoid, Softmax and HardSigmoid end at 1. Not known is the end of a Softmax over more values
       than ``_FEW``, or nobody knows how many: they add up to 1, so that most are near 0 and the
       largest may stay far below 1.
    2. A Clip from 0 to a constant h, such as ReLU6, ends at h.

    The search for a threshold can be skipped there (HPTQ, arXiv 2109.09113); that it also may lose
    accuracy is seen where a network uses only a part of the range.
    """
    node = value.producer()
    if node is None or node.domain != "":
        return None
    if node.op_type in UP_TO_ONE:
        return None if is_wide_softmax(node) else 1.0
    high = upper_bound(node)
    return high if high is not None and high < math.inf else None


def is_wide_softmax(node: ir.Node) -> bool:
    """Whether the node is a Softmax over more values than ``_FEW``, or nobody knows how many."""
    if node.op_type != "Softmax" or node.domain != "":
        return False
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    size = shape[int_attribute(node, "axis", -1)] if shape is not None else None
    return not isinstance(size, int) or size > _FEW


def absorbs_negative(node: ir.Node) -> bool:
    """Whether an unsigned grid behind the node can do its work on the integers.

    A ReLU is superfluous there. A Clip from 0 to h is a Clip of the integers to h/Δ where that is
    an integer, which must hold for 4 bits and one threshold above h at least.
    """
    if node.op_type == "Relu" and node.domain == "":
        return True
    high = upper_bound(node)
    if high is None or high == math.inf:
        return high is not None
    return float(high / scales(exponent_of(high) + 1, bits=4, signed=False)).is_integer()


def least_of_minimum(node: ir.Node) -> tuple[ir.Value | None, float]:
    """The data and the least bound of Min(x, constant), as an equalized ReLU6 has it; or None."""
    if node.op_type == "Min" and node.domain == "" and len(node.inputs) == 2:
        for source, bound in (node.inputs, node.inputs[::-1]):
            array = constant(bound)
            if array is not None and source is not None and constant(source) is None:
                return source, float(array.min())
    return None, 0.0
