"""Activation functions in all their spellings become one operator each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.bounds import upper_bound
from passes.canonicalize.factors import factors, private_producer
from passes.graph import Namer, float_attribute, is_float, replace, scalar

HARD_SWISH_OPSET = 14


@dataclass(frozen=True)
class CanonicalActivations(ir.passes.InPlacePass):
    """Recognise spelled-out activation functions. Exact up to float rounding.

    1. Clip(x, 0, none) → Relu(x).
    2. Clip(x + 3, 0, 6) / 6 → HardSigmoid(x, α = 1/6, β = 1/2); the division may be a product.
    3. x · HardSigmoid(x, 1/6, 1/2), and x · Clip(x + 3, 0, 6) / 6 multiplied in any order →
       HardSwish(x). Raises opset 13 to 14, which changes no other operator's defaults.
    4. x / (1 + exp(−x)) → x · Sigmoid(x), and 1 / (1 + exp(−x)) → Sigmoid(x).

    An intermediate result that somebody else reads as well is no part of a spelling, nor are
    integers. What computed the intermediate results is left for the removal of dead code.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every spelling that is found."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for rewrite in (_relu, _hard_sigmoid, _hard_swish, _sigmoid):
            for node in list(graph):
                known = node.graph is graph and node.domain == "" and is_float(node.outputs[0])
                new = rewrite(node) if known else None
                if new is None:
                    continue
                for step in new:
                    step.name = name(f"{node.name}_{step.op_type}")
                graph.insert_before(node, new)
                replace(node.outputs[0], new[-1].outputs[0])
                graph.remove(node, safe=True)
                modified = True
        uses_hard_swish = any(node.op_type == "HardSwish" for node in graph)
        if uses_hard_swish and model.opset_imports.get("", 0) < HARD_SWISH_OPSET:
            model.opset_imports[""] = HARD_SWISH_OPSET
        return ir.passes.PassResult(model, modified)


def _relu(node: ir.Node) -> list[ir.Node] | None:
    unlimited = (upper_bound(node) or 0.0) >= np.finfo(np.float32).max
    return [ir.node("Relu", [node.inputs[0]])] if unlimited else None


def _hard_sigmoid(node: ir.Node) -> list[ir.Node] | None:
    clip = _divided_by(node, 6.0)
    source = _clipped_plus_three(clip)
    return None if source is None else [_hard_sigmoid_node(source)]


def _hard_swish(node: ir.Node) -> list[ir.Node] | None:
    number, values = factors(node) or (0.0, [])
    for x, gate in (values, values[::-1]) if values else ():
        if np.isclose(number, 1 / 6, rtol=1e-6) and _clipped_plus_three(gate) is x:
            return [ir.node("HardSwish", [x])]
        if number == 1 and _is_sixth_gate(gate, x):
            return [ir.node("HardSwish", [x])]
    return None


def _sigmoid(node: ir.Node) -> list[ir.Node] | None:
    if node.op_type != "Div" or node.inputs[1] is None:
        return None
    x = _one_plus_exp_of_minus(node.inputs[1])
    if x is None:
        return None
    sigmoid = ir.node("Sigmoid", [x])
    if scalar(node.inputs[0]) == 1.0:
        return [sigmoid]
    if node.inputs[0] is x:
        return [sigmoid, ir.node("Mul", [x, sigmoid.outputs[0]])]
    return None


def _divided_by(node: ir.Node, number: float) -> ir.Value | None:
    if node.op_type == "Div" and scalar(node.inputs[1]) == number:
        return node.inputs[0]
    if node.op_type == "Mul":
        for value, factor in (node.inputs, node.inputs[::-1]):
            found = scalar(factor)
            if found is not None and np.isclose(found, 1 / number, rtol=1e-6):
                return value
    return None


def _clipped_plus_three(value: ir.Value | None) -> ir.Value | None:
    """Return x when the value is Clip(x + 3, 0, 6)."""
    clip = private_producer(value, "Clip")
    if clip is None or upper_bound(clip) != 6.0:
        return None
    plus = private_producer(clip.inputs[0], "Add")
    if plus is None:
        return None
    for x, three in (plus.inputs, plus.inputs[::-1]):
        if scalar(three) == 3.0:
            return x
    return None


def _is_sixth_gate(gate: ir.Value, x: ir.Value) -> bool:
    node = private_producer(gate, "HardSigmoid")
    return (
        node is not None
        and node.inputs[0] is x
        and bool(np.isclose(float_attribute(node, "alpha", 0.2), 1 / 6, rtol=1e-6))
        and float_attribute(node, "beta", 0.5) == 0.5
    )


def _hard_sigmoid_node(source: ir.Value) -> ir.Node:
    return ir.node("HardSigmoid", [source], attributes={"alpha": 1 / 6, "beta": 0.5})


def _one_plus_exp_of_minus(value: ir.Value) -> ir.Value | None:
    plus = private_producer(value, "Add")
    if plus is None:
        return None
    for term, one in (plus.inputs, plus.inputs[::-1]):
        exp = private_producer(term, "Exp") if scalar(one) == 1.0 else None
        minus = private_producer(exp.inputs[0], "Neg") if exp is not None else None
        if minus is not None:
            return minus.inputs[0]
    return None
