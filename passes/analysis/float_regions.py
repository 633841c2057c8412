"""Which tensors stand between operators that are computed in float anyway: an analysis, no edit."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx_ir as ir

from passes.graph import constant, producer_of
from passes.operators import SAME_GRID, WITHOUT_INTEGER_KERNELS

_MASK = -1e4
"""What a mask holds at most where nothing may be looked at, by the exporters' habits: −10⁴, the
least number of float16 or of float32, −∞."""

_MOVES = frozenset({"Add", "Div", "Mul", "Sub", "Where"})
"""What scales and masks logits."""

_EITHER = frozenset({"Add", "Mul"})


def float_values(region: Collection[ir.Node]) -> set[ir.Value]:
    """Find the tensors that nobody gains anything from quantizing.

    1. What an operator without integer kernels hands on to such operators alone: the inside of a
       GELU or LayerNormalization that is written in parts. A pair there would cost two passes over
       the tensor and an error, and keep the runtime from seeing what the parts are.
    2. Add and Mul count among them where an operand as large as the result comes from one of them
       and goes to no other kind. The gate of squeeze-and-excite is small, so its product with the
       features is none.

    Args:
        region: Nodes that may be quantized, in graph order.
    """
    members = set(region)
    floats = {
        node for node in members if node.domain == "" and node.op_type in WITHOUT_INTEGER_KERNELS
    }
    changed = True
    while changed:
        joined = {
            node
            for node in members - floats
            if node.op_type in _EITHER
            and node.domain == ""
            and any(_is_float_operand(value, node, floats) for value in node.inputs)
        }
        changed = bool(joined)
        floats |= joined
    return {
        value
        for node in floats
        for value in node.outputs
        if not value.is_graph_output()
        and value.uses()
        and all(use.node in floats for use in value.uses())
    }


def masked_values(region: Iterable[ir.Node]) -> set[ir.Value]:
    """Find the logits of attention that a mask has moved out of every grid's reach.

    A grid that holds the mask, −10⁹ or −∞, has no step left for the logits beside it.

    1. What Where or Add makes with a constant that reaches down to −10⁴, and Mul with such a number
       where it turns a mask of ones and zeros.
    2. What only moves values of 1, or adds it.

    Args:
        region: Nodes that may be quantized, in graph order.
    """
    found: set[ir.Value] = set()
    for node in region:
        values = [value for value in node.inputs if value is not None]
        adds = node.op_type in ("Add", "Mul", "Sum", "Where")
        if node.domain == "" and (
            (adds and any(value in found or is_mask(value) for value in values))
            or (node.op_type in SAME_GRID | {"Concat"} and any(v in found for v in values))
        ):
            found.update(node.outputs)
    return found


def attention_logits(region: Iterable[ir.Node]) -> set[ir.Value]:
    """Find the logits of attention: products of two activations, up to their Softmax.

    The largest logits decide, which no two pictures share: a grid that cuts them off, or has no
    steps between them, changes what is looked at. The products themselves run on integers.

    1. What a Softmax reads, back through what scales, masks or moves it to a MatMul of two
       activations, that product included. What anything else reads is left alone.

    Args:
        region: Nodes that may be quantized, in graph order.
    """
    found: set[ir.Value] = set()
    for node in region:
        if node.op_type == "Softmax" and node.domain == "":
            found.update(_up_to_product(node.inputs[0]))
    return found


def _up_to_product(value: ir.Value | None) -> list[ir.Value]:
    """A value and those that it is made of, back to a product; empty where there is none."""
    node = producer_of(value)
    if value is None or node is None or node.domain != "" or len(value.uses()) != 1:
        return []
    if node.op_type == "MatMul":
        return [] if any(constant(each) is not None for each in node.inputs) else [value]
    if node.op_type not in _MOVES | SAME_GRID:
        return []
    for source in node.inputs:
        if source is not None and constant(source) is None and (found := _up_to_product(source)):
            return [value, *found]
    return []


def is_mask(value: ir.Value) -> bool:
    """Whether a value is a constant that masks logits where it is added to them."""
    array = constant(value)
    if array is None or array.dtype.kind != "f" or not array.size:
        return False
    return bool(array.min() <= _MASK)


def _is_float_operand(value: ir.Value | None, reader: ir.Node, floats: Collection[ir.Node]) -> bool:
    if value is None or value.shape is None or value.shape != reader.outputs[0].shape:
        return False
    others = (use.node for use in value.uses() if use.node is not reader)
    return value.producer() in floats and all(node in floats for node in others)
