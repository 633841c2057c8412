"""GELU written with Erf becomes one operator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import Namer, is_float, replace, scalar, sole_consumer

GELU_OPSET = 20
"""The first with the operator Gelu."""


@dataclass(frozen=True)
class CanonicalGelu(ir.passes.InPlacePass):
    """Recognise x/2 · (1 + erf(x/√2)) and write it as Gelu(x). Exact up to float rounding.

    1. The three factors x, 1/2 and 1 + erf may be multiplied in any order, x/√2 may be a product,
       x/2 a quotient.
    2. Declined: models before opset 20, which do not have the operator, and intermediate results
       that somebody else reads.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every GELU."""
        graph = model.graph
        if model.opset_imports.get("", 0) < GELU_OPSET:
            return ir.passes.PassResult(model, False)
        name = Namer(graph)
        found = spelled_gelus(graph)
        for node, source in found:
            gelu = ir.node("Gelu", [source], name=name(f"{node.name}_Gelu"))
            graph.insert_before(node, gelu)
            replace(node.outputs[0], gelu.outputs[0])
            graph.remove(node, safe=True)
        return ir.passes.PassResult(model, bool(found))


def spelled_gelus(graph: ir.Graph) -> list[tuple[ir.Node, ir.Value]]:
    """Return the last node of every GELU that is written with Erf, and what it is a function of."""
    found = []
    for node in graph:
        factors = _factors(node) if _is_float_product(node) else None
        if factors is None:
            continue
        number, values = factors
        for x, gate in (values, values[::-1]):
            if math.isclose(number, 0.5, rel_tol=1e-6) and _one_plus_erf(gate) is x:
                found.append((node, x))
                break
    return found


def _is_float_product(node: ir.Node) -> bool:
    return node.op_type in ("Mul", "Div") and node.domain == "" and is_float(node.outputs[0])


def _factors(node: ir.Node) -> tuple[float, list[ir.Value]] | None:
    """A product of two tensors and a number, of which the number may stand at either or behind."""
    number, values = 1.0, list(node.outputs)
    for _ in range(2):
        split: list[ir.Value] = []
        for value in values:
            producer = value.producer()
            inner = value is not node.outputs[0]
            if producer is None or (inner and sole_consumer(value) is None):
                split.append(value)
                continue
            factor, parts = _product(producer)
            number, split = number * factor, split + (parts or [value])
        values = split
    return (number, values) if len(values) == 2 else None


def _product(node: ir.Node) -> tuple[float, list[ir.Value]]:
    """The constant factor and the tensors of one Mul or Div; no tensors where it is neither."""
    if node.domain != "" or node.op_type not in ("Mul", "Div"):
        return 1.0, []
    left, right = node.inputs
    if left is None or right is None:
        return 1.0, []
    divisor = scalar(right)
    if node.op_type == "Div":
        return (1 / divisor, [left]) if divisor else (1.0, [])
    for value, other in ((left, right), (right, left)):
        factor = scalar(other)
        if factor is not None:
            return factor, [value]
    return 1.0, [left, right]


def _one_plus_erf(value: ir.Value) -> ir.Value | None:
    """Return x where the value is 1 + erf(x/√2) and nobody else reads the parts."""
    plus = _private_producer(value, "Add")
    if plus is None:
        return None
    for term, one in (plus.inputs, plus.inputs[::-1]):
        erf = _private_producer(term, "Erf") if scalar(one) == 1.0 else None
        inner = erf.inputs[0] if erf is not None else None
        producer = inner.producer() if inner is not None and sole_consumer(inner) else None
        if producer is None:
            continue
        factor, parts = _product(producer)
        if len(parts) == 1 and math.isclose(factor, math.sqrt(0.5), rel_tol=1e-5):
            return parts[0]
    return None


def _private_producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = value.producer() if value is not None and sole_consumer(value) is not None else None
    return node if node is not None and node.op_type == op_type and node.domain == "" else None
