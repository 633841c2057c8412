"""Which tensors belong to a layer: what it reads, and what it puts out up to its activation."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from passes.graph import constant, name_of, scalar, sole_consumer
from passes.operators import PAIR, POINTWISE

_OF_ONE_TENSOR = POINTWISE | PAIR | {"Add", "Div", "Erf", "Exp", "Min", "Mul", "Neg", "Pow", "Sub"}
"""What an activation function can be written with, between constants and values of one layer."""


def own_values(layer: ir.Node) -> list[ir.Value]:
    """The output of a layer and of what computes its activation function, in graph order.

    By the paper a layer and the non-linearity behind it are one quantization point (HPTQ, arXiv
    2109.09113). A node belongs to it if it computes number by number and reads nothing but
    constants and what belongs to it already: SiLU does, the sum of a shortcut does not.
    """
    found = {layer.outputs[0]: None}
    waiting = [layer.outputs[0]]
    while waiting:
        for node in (use.node for use in waiting.pop(0).uses()):
            inputs = [value for value in node.inputs if value is not None]
            belongs = all(v in found or constant(v) is not None for v in inputs)
            computes = node.domain == "" and node.op_type in _OF_ONE_TENSOR
            if computes and belongs and node.outputs[0] not in found:
                found[node.outputs[0]] = None
                waiting.append(node.outputs[0])
    return list(found)


def bounds_of(layer: ir.Node) -> tuple[float, float]:
    """Between which values a ReLU or a Clip right behind a layer leaves its output."""
    low, high = -np.inf, np.inf
    value = layer.outputs[0]
    while (node := sole_consumer(value)) is not None and node.op_type in ("Clip", "Relu"):
        ends = [scalar(end) for end in (*node.inputs[1:3], None, None)]
        least = 0.0 if node.op_type == "Relu" else ends[0]
        low = max(low, -np.inf if least is None else least)
        high = min(high, np.inf if ends[1] is None else ends[1])
        value = node.outputs[0]
    return low, high


def own_tensors(layer: ir.Node, grids: Collection[str]) -> tuple[str, ...]:
    """Names of the quantized tensors of a layer: its input first, if that is one."""
    names = [name_of(layer.inputs[0]), *(name_of(value) for value in own_values(layer))]
    return tuple(dict.fromkeys(name for name in names if name in grids))


def tensors_until(graph: ir.Graph, layer: ir.Node, grids: Collection[str]) -> frozenset[str]:
    """Names of the quantized tensors that are there once a layer has been computed."""
    last = own_values(layer)[-1].producer()
    found = {name_of(value) for value in graph.inputs}
    for node in graph:
        found.update(name_of(value) for value in node.outputs)
        if node is last:
            break
    return frozenset(found & set(grids))
