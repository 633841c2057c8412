"""Hard-swish and hard-sigmoid on integer kernels."""

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
    producer_of,
    replace,
    scalar,
    sole_consumer,
)
from passes.qdq import integer_clip

_THREE = 3
_SIX = np.float32(6)


@dataclass(frozen=True)
class IntegerHardActivations(ir.passes.InPlacePass):
    """Compute hard-swish and hard-sigmoid on 8-bit integers. Exact: tried for every integer.

    ONNX Runtime has no integer kernel for either and computes them in float. For x = Δ(q - z):

    1. HardSwish: clip(x + 3, 0, 6)/6 is Δ/6·(clip(q, z - 3/Δ, z + 3/Δ) - (z - 3/Δ)): a Clip of the
       integers that another scale and zero point belong to. What is left is a product of two
       quantized tensors, which has a kernel.
    2. HardSigmoid α·x + β, whose grid behind has the step D and the zero point 0: the integers
       are round(x/(D/α) + β/D), saturated: x on a grid of step D/α and zero point β/D. A LeakyRelu
       of slope 1, in ONNX Runtime a table of 256 entries, changes the grid.
    3. Declined: between anything but 8-bit pairs, 3/Δ or β/D is no integer or the new zero point
       is out of range, or an integer would be rounded otherwise than in float.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every function that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type == "HardSwish":
                modified = _swish(graph, node, name) or modified
            elif node.op_type == "HardSigmoid":
                modified = _sigmoid(graph, node, name) or modified
        return ir.passes.PassResult(model, modified)


@dataclass(frozen=True)
class _Grid:
    """Scale and zero point of 8-bit integers."""

    scale: np.float32
    zero: int
    low: int
    high: int

    @classmethod
    def of(cls, node: ir.Node | None, op_type: str) -> _Grid | None:
        """The grid of a QuantizeLinear or DequantizeLinear of one scale."""
        if node is None or node.op_type != op_type or len(node.inputs) < 3:
            return None
        scale, zero = scalar(node.inputs[1]), constant(node.inputs[2])
        if scale is None or zero is None or zero.dtype not in ("uint8", "int8") or zero.size > 1:
            return None
        limits = np.iinfo(zero.dtype)
        return cls(np.float32(scale), int(zero), int(limits.min), int(limits.max))

    def integers(self) -> NDArray[np.int64]:
        """All of them."""
        return np.arange(self.low, self.high + 1)

    def values(self, integers: NDArray[np.int64]) -> NDArray[np.float32]:
        """What DequantizeLinear makes of them."""
        values: NDArray[np.float32] = (integers - self.zero).astype(np.float32) * self.scale
        return values

    def rounded(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """What QuantizeLinear makes of values."""
        integers = np.rint(values / self.scale) + np.float32(self.zero)
        saturated: NDArray[np.float32] = np.clip(integers, self.low, self.high)
        return saturated


def _swish(graph: ir.Graph, node: ir.Node, name: Namer) -> bool:
    """Case 1."""
    source, quantizer = _around(node)
    before, after = _Grid.of(source, "DequantizeLinear"), _Grid.of(quantizer, "QuantizeLinear")
    if before is None or after is None or source is None:
        return False
    channel_range = _THREE / float(before.scale)
    if not channel_range.is_integer() or before.zero - channel_range < before.low:
        return False
    low, high = int(before.zero - channel_range), int(min(before.zero + channel_range, before.high))
    q = before.integers()
    gate = _Grid(before.scale / _SIX, low, before.low, before.high)
    # The integer kernel multiplies a product of integers by one ratio of scales.
    product = (q - before.zero) * (np.clip(q, low, high) - low)
    ratio = before.scale * gate.scale / after.scale
    found = np.clip(np.rint(product.astype(np.float32) * ratio) + after.zero, after.low, after.high)
    x = before.values(q)
    if not np.array_equal(found, after.rounded(x * _hard_sigmoid(x, 1 / 6, 0.5))):
        return False
    integers, x_value = source.inputs[0], node.inputs[0]
    assert integers is not None
    assert x_value is not None
    producer = integers.producer()
    if producer is None:
        return False
    clipped = integer_clip(graph, producer, low, high, name)
    gated = _dequantized(graph, node, clipped, gate, name)
    product_node = ir.node("Mul", [x_value, gated], name=name(f"{node.name}_product"))
    graph.insert_before(node, product_node)
    replace(node.outputs[0], product_node.outputs[0])
    graph.remove(node, safe=True)
    return True


def _sigmoid(graph: ir.Graph, node: ir.Node, name: Namer) -> bool:
    """Case 2."""
    source, quantizer = _around(node)
    before, after = _Grid.of(source, "DequantizeLinear"), _Grid.of(quantizer, "QuantizeLinear")
    if before is None or after is None or quantizer is None:
        return False
    alpha = float_attribute(node, "alpha", 0.2)
    beta = float_attribute(node, "beta", 0.5)
    zero = beta / float(after.scale) + after.zero
    if alpha <= 0 or not zero.is_integer() or not after.low <= zero <= after.high:
        return False
    moved = _Grid(np.float32(float(after.scale) / alpha), int(zero), after.low, after.high)
    x = before.values(before.integers())
    found = moved.rounded(x)
    if not np.array_equal(found, after.rounded(_hard_sigmoid(x, alpha, beta))):
        return False
    slope = ir.node("LeakyRelu", [node.inputs[0]], {"alpha": 1.0}, name=name(f"{node.name}_grid"))
    graph.insert_before(node, slope)
    replace(node.outputs[0], slope.outputs[0])
    graph.remove(node, safe=True)
    for index, value in enumerate(_parameters(graph, moved, quantizer.name or "grid", name), 1):
        quantizer.replace_input_with(index, value)
    return True


def _around(node: ir.Node) -> tuple[ir.Node | None, ir.Node | None]:
    """The nodes before and behind a function that nobody else reads."""
    value = node.inputs[0]
    return producer_of(value), sole_consumer(node.outputs[0])


def _hard_sigmoid(x: NDArray[np.float32], alpha: float, beta: float) -> NDArray[np.float32]:
    """HardSigmoid in single precision, as ONNX defines it."""
    values: NDArray[np.float32] = np.clip(np.float32(alpha) * x + np.float32(beta), 0, 1)
    return values.astype(np.float32)


def _dequantized(
    graph: ir.Graph, before: ir.Node, integers: ir.Value, grid: _Grid, name: Namer
) -> ir.Value:
    """The values of integers on a grid of their own."""
    stem = name(f"{integers.name}_gate")
    dq = ir.node("DequantizeLinear", [integers, *_parameters(graph, grid, stem, name)], name=stem)
    dq.outputs[0].name, dq.outputs[0].type = stem, ir.TensorType(ir.DataType.FLOAT)
    dq.outputs[0].shape = integers.shape
    graph.insert_before(before, dq)
    return dq.outputs[0]


def _parameters(graph: ir.Graph, grid: _Grid, stem: str, name: Namer) -> tuple[ir.Value, ir.Value]:
    """Scale and zero point as initializers."""
    kind = np.uint8 if grid.low == 0 else np.int8
    return (
        add_initializer(graph, name(f"{stem}_scale"), np.array(grid.scale, np.float32)),
        add_initializer(graph, name(f"{stem}_zero"), np.array(grid.zero, kind)),
    )
