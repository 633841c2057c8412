"""Mish in parts becomes one operator."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.canonicalize.factors import factors, private_producer
from passes.graph import Namer, replace, scalar

MISH_OPSET = 18
"""The first with the operator Mish."""


@dataclass(frozen=True)
class CanonicalMish(ir.passes.InPlacePass):
    """Write x·tanh(ln(1 + eˣ)) as Mish(x). Exact up to float rounding.

    No runtime has integer kernels for the parts, so that grids between them only cost time.

    1. The logarithm may be Softplus, or Log, Add and Exp.
    2. Declined: models before opset 18, which do not have the operator, and intermediate results
       that somebody else reads.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every Mish."""
        graph = model.graph
        if model.opset_imports.get("", 0) < MISH_OPSET:
            return ir.passes.PassResult(model, False)
        name = Namer(graph)
        found = spelled_mishes(graph)
        for node, source in found:
            mish = ir.node("Mish", [source], name=name(f"{node.name}_Mish"))
            graph.insert_before(node, mish)
            replace(node.outputs[0], mish.outputs[0])
            graph.remove(node, safe=True)
        return ir.passes.PassResult(model, bool(found))


def spelled_mishes(graph: ir.Graph) -> list[tuple[ir.Node, ir.Value]]:
    """Find the last node of every Mish in parts, and what it is a function of."""
    found = []
    for node in graph:
        number, values = factors(node) or (0.0, [])
        if number != 1:
            continue
        for x, gate in (values, values[::-1]):
            tanh = private_producer(gate, "Tanh")
            if tanh is not None and _logarithm_of_one_plus_exp(tanh.inputs[0]) is x:
                found.append((node, x))
                break
    return found


def _logarithm_of_one_plus_exp(value: ir.Value | None) -> ir.Value | None:
    softplus = private_producer(value, "Softplus")
    if softplus is not None:
        return softplus.inputs[0]
    logarithm = private_producer(value, "Log")
    plus = private_producer(logarithm.inputs[0], "Add") if logarithm is not None else None
    for term, one in (plus.inputs, plus.inputs[::-1]) if plus is not None else ():
        exp = private_producer(term, "Exp") if scalar(one) == 1.0 else None
        if exp is not None:
            return exp.inputs[0]
    return None
