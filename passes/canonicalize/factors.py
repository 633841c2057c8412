"""Products of two tensors and numbers, taken apart in whatever order they were multiplied."""

from __future__ import annotations

import onnx_ir as ir

from passes.graph import is_float, scalar, sole_consumer


def factors(node: ir.Node) -> tuple[float, list[ir.Value]] | None:
    """A float product of two tensors and a number, of which the number may stand anywhere.

    None where the node is no such product. A part that somebody else reads is not taken apart.
    """
    if node.op_type not in ("Mul", "Div") or node.domain != "" or not is_float(node.outputs[0]):
        return None
    number, values = 1.0, list(node.outputs)
    for _ in range(2):
        split: list[ir.Value] = []
        for value in values:
            producer = value.producer()
            inner = value is not node.outputs[0]
            if producer is None or (inner and sole_consumer(value) is None):
                split.append(value)
                continue
            factor, parts = product(producer)
            number, split = number * factor, split + (parts or [value])
        values = split
    return (number, values) if len(values) == 2 else None


def product(node: ir.Node) -> tuple[float, list[ir.Value]]:
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


def private_producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The producer of a value that nobody else reads, when it is of that type."""
    node = value.producer() if value is not None and sole_consumer(value) is not None else None
    return node if node is not None and node.op_type == op_type and node.domain == "" else None
