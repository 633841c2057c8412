"""Ranges that are known before any picture is seen."""

from __future__ import annotations

import math

import onnx_ir as ir

from passes.arithmetic import Grid, exponent_of
from passes.graph import scalar

_UP_TO_ONE = frozenset({"Sigmoid", "Softmax", "HardSigmoid"})


def known_bound(value: ir.Value) -> float | None:
    """Return the largest value that a tensor can have, if its producer keeps it within [0, h].

    1. Sigmoid, Softmax and HardSigmoid end at 1.
    2. A Clip from 0 to a constant h, such as ReLU6, ends at h.

    The search for a threshold can be skipped there (HPTQ, arXiv 2109.09113); that it also may lose
    accuracy is seen where a network uses only a part of the range.
    """
    node = value.producer()
    if node is None or node.domain != "":
        return None
    if node.op_type in _UP_TO_ONE:
        return 1.0
    if node.op_type != "Clip" or len(node.inputs) < 3 or scalar(node.inputs[1]) != 0.0:
        return None
    high = scalar(node.inputs[2])
    return high if high is not None and 0 < high < math.inf else None


def grid_up_to(bound: float, *, bits: int, signed: bool = False) -> Grid:
    """Return the grid of the smallest threshold that reaches the bound.

    A signed one ends one step below its threshold.
    """
    return Grid(int(exponent_of(bound)), bits, signed=signed)
