"""The operator Swish becomes the SiLU that everything else knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, float_attribute, name_of, replace


@dataclass(frozen=True)
class SpellSwish(ir.passes.InPlacePass):
    """Write Swish(x) as x·Sigmoid(α·x). Exact up to float rounding.

    Opset 24 has an operator for what was written in two before, which have integer kernels, a
    gradient and a place in every older opset.

    1. α = 1, the default: x·Sigmoid(x), which is SiLU.
    2. Any other α: a product with it before the Sigmoid.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace every Swish of the graph."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type == "Swish" and node.domain == "":
                _rewrite(graph, node, name)
                modified = True
        return ir.passes.PassResult(model, modified)


def _rewrite(graph: ir.Graph, node: ir.Node, name: Namer) -> None:
    x, output = node.inputs[0], node.outputs[0]
    alpha = float_attribute(node, "alpha", 1.0)
    new: list[ir.Node] = []

    def add(kind: str, *inputs: ir.Value | None) -> ir.Value:
        new.append(ir.node(kind, inputs, name=name(f"{node.name}_{kind}")))
        result = new[-1].outputs[0]
        result.name = name(f"{name_of(output)}_{kind.lower()}")
        result.type, result.shape = output.type, output.shape
        return result

    inner = x
    if alpha != 1 and output.dtype is not None:
        number = np.array(alpha, output.dtype.numpy())
        inner = add("Mul", x, add_initializer(graph, name(f"{name_of(output)}_alpha"), number))
    result = add("Mul", x, add("Sigmoid", inner))
    graph.insert_before(node, new)
    replace(output, result)
    graph.remove(node, safe=True)
