"""GELU written with Erf or Tanh becomes one operator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from passes.canonicalize.factors import factors, private_producer, product
from passes.graph import Namer, replace, scalar, sole_consumer

GELU_OPSET = 20
"""The first with the operator Gelu."""


@dataclass(frozen=True)
class CanonicalGelu(ir.passes.InPlacePass):
    """Write GELU in its spellings as Gelu(x). Exact up to float rounding.

    1. x/2 · (1 + erf(x/√2)). The three factors x, 1/2 and 1 + erf may be multiplied in any order,
       x/√2 may be a product, x/2 a quotient.
    2. x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))), likewise: the approximate one. The cube may be a
       power or a product.
    3. Declined: models before opset 20, which do not have the operator, and intermediate results
       that somebody else reads.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every GELU."""
        graph = model.graph
        if model.opset_imports.get("", 0) < GELU_OPSET:
            return ir.passes.PassResult(model, False)
        name = Namer(graph)
        found = spelled_gelus(graph)
        for node, source, approximate in found:
            attributes = {"approximate": "tanh"} if approximate else None
            gelu = ir.node("Gelu", [source], attributes, name=name(f"{node.name}_Gelu"))
            graph.insert_before(node, gelu)
            replace(node.outputs[0], gelu.outputs[0])
            graph.remove(node, safe=True)
        return ir.passes.PassResult(model, bool(found))


def spelled_gelus(graph: ir.Graph) -> list[tuple[ir.Node, ir.Value, bool]]:
    """Find every GELU in parts: last node, what it is a function of, and whether it has tanh."""
    found = []
    for node in graph:
        parts = factors(node)
        if parts is None or not math.isclose(parts[0], 0.5, rel_tol=1e-6):
            continue
        _, values = parts
        for x, gate in (values, values[::-1]):
            if _one_plus_erf(gate) is x:
                found.append((node, x, False))
                break
            if _is_one_plus_tanh(gate, x):
                found.append((node, x, True))
                break
    return found


def _one_plus(value: ir.Value, op_type: str) -> ir.Value | None:
    """Return z where the value is 1 + f(z) and nobody else reads the parts."""
    plus = private_producer(value, "Add")
    if plus is None:
        return None
    for term, one in (plus.inputs, plus.inputs[::-1]):
        function = private_producer(term, op_type) if scalar(one) == 1.0 else None
        if function is not None:
            return function.inputs[0]
    return None


def _scaled(value: ir.Value | None, number: float) -> ir.Value | None:
    """Return z where the value is the number times z and nobody else reads it."""
    producer = value.producer() if value is not None and sole_consumer(value) else None
    factor, parts = (0.0, []) if producer is None else product(producer)
    close = len(parts) == 1 and math.isclose(factor, number, rel_tol=1e-5)
    return parts[0] if close else None


def _one_plus_erf(value: ir.Value) -> ir.Value | None:
    """Return x where the value is 1 + erf(x/√2)."""
    return _scaled(_one_plus(value, "Erf"), math.sqrt(0.5))


def _is_one_plus_tanh(value: ir.Value, x: ir.Value) -> bool:
    """Whether the value is 1 + tanh(√(2/π)·(x + 0.044715·x³))."""
    plus = private_producer(_scaled(_one_plus(value, "Tanh"), math.sqrt(2 / math.pi)), "Add")
    if plus is None:
        return False
    return any(
        first is x and _is_cube(_scaled(second, 0.044715), x)
        for first, second in (plus.inputs, plus.inputs[::-1])
    )


def _is_cube(value: ir.Value | None, x: ir.Value) -> bool:
    power = private_producer(value, "Pow")
    if power is not None:
        return power.inputs[0] is x and scalar(power.inputs[1]) == 3.0
    node = private_producer(value, "Mul")
    if node is None:
        return False
    return any(
        first is x
        and (square := private_producer(second, "Mul")) is not None
        and all(factor is x for factor in square.inputs)
        for first, second in (node.inputs, node.inputs[::-1])
    )
