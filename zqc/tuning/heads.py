"""Distillation over the heads: what the last layers put out, as distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from passes.analysis.topology import is_expectation, last_layers
from passes.graph import constant, name_of
from zqc.autodiff.emitter import Emitter, dims
from zqc.detection.losses.writing import Pen

TEMPERATURE = 4.0
"""What both sides are divided by before the softmax (TS-ZSQ, arXiv 2507.16782, its code)."""


def head_tensors(graph: ir.Graph) -> list[str]:
    """Names of what the last layers put out, in the unit that they are read in.

    Behind a layer whose channels are scaled (``ScaleOutputs``) that is the product.
    """
    return [
        name_of(_unscaled(node.outputs[0]))
        for node in last_layers(graph)
        if not is_expectation(node)
    ]


def _unscaled(value: ir.Value) -> ir.Value:
    """The value, or the product with a constant that is all that is made of it."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return value
    node = uses[0].node
    is_scaled = node.op_type == "Mul" and constant(node.inputs[1 - uses[0].idx]) is not None
    return node.outputs[0] if is_scaled else value


def head_divergence(
    emitter: Emitter,
    students: Mapping[str, ir.Value],
    teachers: Mapping[str, ir.Value],
    names: Sequence[str],
) -> ir.Value:
    """Emit τ² Σ over heads of KL(teacher ‖ student), summed over the pictures, a scalar.

    All that a head puts out for a picture is one distribution: softmax(x/τ) over all of it, boxes
    and classes together (TS-ZSQ, its code; one per last layer instead of one per scale, our
    choice).

    Args:
        emitter: Appends to the graph.
        students: Tensors of the quantized model, by name; their shapes are known.
        teachers: The same of the float model.
        names: The heads; at least one.
    """
    pen = Pen(emitter, "heads")
    terms = [_divergence(pen, students[name], teachers[name]) for name in names]
    total = terms[0]
    for term in terms[1:]:
        total = pen("Add", total, term)
    return pen.shaped(total)


def _divergence(pen: Pen, student: ir.Value, teacher: ir.Value) -> ir.Value:
    """τ² Σ p·(log p − log p̂) of one head, a scalar."""
    expected, found = _logs(pen, teacher), _logs(pen, student)
    apart = pen("Mul", pen("Exp", expected), pen("Sub", expected, found))
    scaled = pen("Mul", apart, TEMPERATURE**2)
    return pen.shaped(pen("ReduceSum", scaled, keepdims=0))


def _logs(pen: Pen, value: ir.Value) -> ir.Value:
    """Log softmax(x/τ) of all values of each picture, (N, K)."""
    count, *sizes = (dim for dim in dims(value) if isinstance(dim, int))
    flat = pen.shaped(pen("Reshape", value, [count, -1]), count, math.prod(sizes))
    return pen("LogSoftmax", pen("Mul", flat, 1 / TEMPERATURE), axis=-1)
