"""Max pooling before an activation function: fewer values go through its table."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import Namer, float_attribute, replace, sole_consumer
from passes.qdq import equal_pairs, pair_of


@dataclass(frozen=True)
class EarlyMaxPools(ir.passes.InPlacePass):
    """Move MaxPool from behind a monotone function to before it. Exact on integers.

    A function that never falls, and the rounding behind it, keep the order of what they are given:
    max f(q) = f(max q). ONNX Runtime's integer LeakyRelu and Sigmoid look every value up in a
    table, one by one; behind a pooling of 2×2 with stride 2 there is a quarter of them.

    1. Pair, LeakyRelu with a slope of 0 or more, or Sigmoid, Tanh or HardSigmoid, pair, MaxPool,
       pair of the same grid, where nobody else reads what is in between.
    2. Declined: Relu and Clip, which the layer before takes in; indices of the maxima; PRelu.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every MaxPool that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type == "MaxPool" and len(node.outputs) == 1:
                modified = _rewrite(graph, node, name) or modified
        return ir.passes.PassResult(model, modified)


def _rewrite(graph: ir.Graph, pool: ir.Node, name: Namer) -> bool:
    """Put the pooling before the function, on the grid of what the function reads."""
    pair = equal_pairs(pool)
    path = _path(pool.inputs[0]) if pair is not None else []
    source = path[0].inputs[0].producer() if path and path[0].inputs[0] is not None else None
    if pair is None or source is None or source.op_type != "DequantizeLinear":
        return False
    function, shape = path[0], pool.outputs[0].shape
    early = ir.node("MaxPool", source.outputs, pool.attributes, name=name(f"{pool.name}_early"))
    pooled = early.outputs[0]
    pooled.name, pooled.type, pooled.shape = early.name, source.outputs[0].type, shape
    scale, zero = (*source.inputs[1:], None)[:2]
    early_pair = pair_of(pooled, scale, zero, name)
    graph.insert_before(function, [early, *early_pair])
    function.replace_input_with(0, early_pair[1].outputs[0])
    for node in path:
        node.outputs[0].shape = shape
    _, behind = pair
    *_, last, dequantizer = path
    replace(behind.outputs[0], last.outputs[0])
    graph.remove([behind, pool, dequantizer], safe=True)
    return True


def _path(value: ir.Value | None) -> list[ir.Node]:
    """The nodes from a monotone function to a value that they alone lead to, or none."""
    path: list[ir.Node] = []
    for kinds in ({"DequantizeLinear"}, {"Clip", "QuantizeLinear"}, {"QuantizeLinear"}):
        if path and path[0].op_type == "QuantizeLinear":
            break
        node = value.producer() if value is not None and sole_consumer(value) is not None else None
        if node is None or node.op_type not in kinds:
            return []
        path.insert(0, node)
        value = node.inputs[0]
    function = value.producer() if value is not None and sole_consumer(value) is not None else None
    return [function, *path] if function is not None and _is_monotone(function) else []


def _is_monotone(node: ir.Node) -> bool:
    """Whether the function never falls."""
    slope = float_attribute(node, "alpha", 0.01) if node.op_type == "LeakyRelu" else 0.0
    return node.op_type in {"LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid"} and slope >= 0
