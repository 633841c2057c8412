"""A Gemm without factors and without a transposed input, which integer kernels take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import (
    Namer,
    add_initializer,
    constant,
    float_attribute,
    int_attribute,
    ints,
    name_of,
    producer_of,
)


@dataclass(frozen=True)
class PlainGemm(ir.passes.InPlacePass):
    """Write α·A·W + β·C as A·(α·W) + β·C with constants multiplied out. Exact up to float rounding.

    1. α goes into a constant weight, β into a constant bias; a bias that β = 0 switches off goes.
    2. A bias that is one number for all outputs, or a row of them, becomes a vector.
    3. transA: a Transpose before the Gemm, or none where one stands there already.
    4. Left alone: factors of what is computed, and a bias that differs from row to row.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every Gemm."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type == "Gemm" and node.domain == "" and constant(node.inputs[0]) is None:
                modified = _rewrite(graph, node, name) or modified
        return ir.passes.PassResult(model, modified)


def _rewrite(graph: ir.Graph, node: ir.Node, name: Namer) -> bool:
    modified = False
    weight, bias = constant(node.inputs[1]), _bias(node)

    def put(index: int, array: NDArray[np.floating]) -> None:
        value = add_initializer(graph, name(name_of(node.inputs[index])), array.astype(np.float32))
        node.replace_input_with(index, value)

    alpha, beta = (float_attribute(node, key, 1.0) for key in ("alpha", "beta"))
    if alpha != 1 and weight is not None:
        put(1, weight * np.float64(alpha))
        node.attributes.pop("alpha")
        modified = True
    if beta == 0 and len(node.inputs) > 2:
        node.resize_inputs(2)
        bias, modified = None, True
    if len(node.inputs) < 3 or node.inputs[2] is None:
        node.attributes.pop("beta", None)
    elif bias is not None and weight is not None:
        outputs = weight.shape[0 if int_attribute(node, "transB", 0) else 1]
        row = bias.size in (1, outputs) and (not bias.ndim or bias.shape[-1] == bias.size)
        if beta != 1 or (row and bias.shape != (outputs,)):
            scaled = bias * np.float64(beta)
            put(2, np.broadcast_to(scaled.reshape(-1), (outputs,)) if row else scaled)
            node.attributes.pop("beta", None)
            modified = True
    if int_attribute(node, "transA", 0):
        _transpose(graph, node, name)
        modified = True
    return modified


def _bias(node: ir.Node) -> NDArray[np.floating] | None:
    return constant(node.inputs[2]) if len(node.inputs) > 2 else None


def _transpose(graph: ir.Graph, node: ir.Node, name: Namer) -> None:
    """Case 3."""
    source = node.inputs[0]
    assert source is not None  # Gemm has one
    before = producer_of(source)
    node.attributes.pop("transA")
    undone = before is not None and before.op_type == "Transpose" and before.domain == ""
    if before is not None and undone and ints(before, "perm", (1, 0)) == (1, 0):
        node.replace_input_with(0, before.inputs[0])
        return
    new = ir.node("Transpose", [source], {"perm": [1, 0]}, name=name(f"{node.name}_transpose"))
    result = new.outputs[0]
    result.name, result.type = name(f"{name_of(source)}_transposed"), source.type
    if source.shape is not None:
        result.shape = ir.Shape(list(source.shape)[::-1])
    graph.insert_before(node, new)
    node.replace_input_with(0, result)
