"""What the graph says of an output: which function made its values, and from which layers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import constant
from passes.operators import WEIGHTED
from zqc.detection.conventions.convention import Facts
from zqc.detection.query_boxes import MOVING, sources

Activation = Literal["sigmoid", "softmax", "none"]
"""What scores have been through; ``none`` means that they are logits."""

_ACTIVATIONS: dict[str, Activation] = {"Sigmoid": "sigmoid", "Softmax": "softmax"}
_LOGITS = WEIGHTED | {"Add"}


def output_value(facts: Facts, name: str) -> ir.Value | None:
    """The value of an output in the graph, where that can be read."""
    if facts.graph is None:
        return None
    return next((value for value in facts.graph.outputs if value.name == name), None)


def makers(value: ir.Value | None) -> set[str]:
    """Types of the operators that computed the values, before they were only moved.

    A constant or an input among them counts as ``""``.
    """
    if value is None:
        return {""}
    return {"" if node is None else node.op_type for node in sources(value, MOVING)}


def activation(value: ir.Value | None) -> Activation | None:
    """What scores have been through; None where it cannot be told."""
    found = makers(value)
    if found <= _LOGITS:
        return "none"
    return _ACTIVATIONS.get(found.pop()) if len(found) == 1 else None


def output_activation(facts: Facts, name: str) -> Activation | None:
    """The same of an output."""
    return activation(output_value(facts, name))


def has_operator(facts: Facts, *types: str) -> bool:
    """Whether the graph has an operator of one of these types, in its subgraphs too."""
    return facts.graph is not None and any(n.op_type in types for n in facts.graph.all_nodes())


def array_of(value: ir.Value | None) -> NDArray[Any] | None:
    """A constant as exporters write it: an initializer, a Constant, or what is moved from one."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "Constant" and "value" in node.attributes:
            return np.asarray(node.attributes["value"].as_tensor().numpy())
        if node.op_type not in ("Identity", "Transpose", "DequantizeLinear"):
            return None
        value = node.inputs[0]
    return constant(value)
