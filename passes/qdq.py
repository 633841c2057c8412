"""QuantizeLinear and DequantizeLinear: recognise a pair, read it, build it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.arithmetic import (
    Grid,
    exponent_of,
    fake_quantize,
    integer_range,
    quantize,
    scales,
)
from passes.graph import (
    Namer,
    add_initializer,
    constant,
    int_attribute,
    is_float,
    producer_of,
    scalar,
    sole_consumer,
)

TYPES = {
    (8, True): ir.DataType.INT8,
    (8, False): ir.DataType.UINT8,
    (4, True): ir.DataType.INT4,
    (4, False): ir.DataType.UINT4,
}
"""Canonical integer type by bits and sign; other bits are a Clip of 8-bit integers."""

BITS_AND_SIGN = {kind: grid for grid, kind in TYPES.items()}
"""Bits, and whether there is a sign, by integer type."""


def dequantized_scale(value: ir.Value | None) -> float | None:
    """Return the scale of the per-tensor DequantizeLinear that produces the value, or None."""
    node = producer_of(value)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    scale = constant(node.inputs[1])
    return float(scale.reshape(())) if scale is not None and scale.size == 1 else None


def pair_of(
    value: ir.Value, scale: ir.Value | None, zero: ir.Value | None, name: Namer
) -> tuple[ir.Node, ir.Node]:
    """Return QuantizeLinear and DequantizeLinear of a tensor, which nobody reads yet.

    Args:
        value: The tensor, in float.
        scale: What both of them read.
        zero: The zero point, whose type is that of the integers; UINT8 without one.
        name: Where their names come from.
    """
    stem = value.name or "tensor"
    q = ir.node("QuantizeLinear", [value, scale, zero], name=name(f"{stem}_q"))
    dq = ir.node("DequantizeLinear", [q.outputs[0], scale, zero], name=name(f"{stem}_dq"))
    kind = zero.dtype if zero is not None else None
    q.outputs[0].type, dq.outputs[0].type = ir.TensorType(kind or ir.DataType.UINT8), value.type
    for node in (q, dq):
        node.outputs[0].name, node.outputs[0].shape = node.name, value.shape
    return q, dq


class PairBuilder:
    """Inserts QuantizeLinear and DequantizeLinear; equal constants are written once."""

    def __init__(self, graph: ir.Graph, name: Namer) -> None:
        self._graph = graph
        self._name = name
        self._constants: dict[tuple[str, float], ir.Value] = {}

    def quantize(self, value: ir.Value, grid: Grid) -> None:
        """Put a pair behind a tensor."""
        is_output = value.is_graph_output()
        stem = value.name or "tensor"
        result = self.quantize_for(value.uses(), value, grid)
        if is_output:
            outputs = self._graph.outputs
            for index, output in enumerate(outputs):
                if output is value:
                    outputs[index] = result
            value.name = self._name(f"{stem}_float")
            result.name = stem

    def quantize_for(
        self, readers: Iterable[tuple[ir.Node, int]], value: ir.Value, grid: Grid
    ) -> ir.Value:
        """Put a pair behind a tensor for some of its readers; return what they read now.

        The readers are nodes and the places among their inputs.
        """
        wanted = tuple(readers)  # before the pair is one of them
        scale = self._scale(grid.scale)
        own = TYPES.get((grid.bits, grid.signed))
        zero = self._zero(own or TYPES[8, grid.signed], grid.shift)
        q, dq = pair_of(value, scale, zero, self._name)
        for node, index in wanted:
            node.replace_input_with(index, dq.outputs[0])
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], [q, dq])
        else:
            self._graph.insert_after(producer, [q, dq])
        if own is None:
            clipped = integer_clip(self._graph, q, *grid.integers, self._name)
            dq.replace_input_with(0, clipped)
        return dq.outputs[0]

    def quantize_constant_operand(self, node: ir.Node, *, signed: bool = False) -> None:
        """Give a constant operand a DequantizeLinear when the other operand has one.

        The grid is signed if ``signed`` says so, or where a constant is negative.
        """
        for index, other in ((0, 1), (1, 0)):
            value = node.inputs[index]
            array = constant(value)
            if array is None or value is None or not is_float(value):
                continue
            if dequantized_scale(node.inputs[other]) is None:
                continue
            grid = best_grid(array, signed=signed)
            # Arithmetic turns an array without dimensions into a number.
            integers = np.asarray(quantize(array, grid.scale, bits=grid.bits, signed=grid.signed))
            kind = TYPES[grid.bits, grid.signed]
            stem = value.name or "constant"
            stored = add_initializer(
                self._graph, self._name(f"{stem}_q"), integers.astype(kind.numpy())
            )
            inputs = [stored, self._scale(grid.scale), self._zero(kind)]
            dq = ir.node("DequantizeLinear", inputs, name=self._name(f"{stem}_dq"))
            dq.outputs[0].name = dq.name
            dq.outputs[0].type, dq.outputs[0].shape = value.type, value.shape
            self._graph.insert_before(node, dq)
            node.replace_input_with(index, dq.outputs[0])

    def _scale(self, scale: float) -> ir.Value:
        key = ("scale", scale)
        if key not in self._constants:
            name = self._name(f"2^{round(np.log2(scale))}")
            self._constants[key] = add_initializer(self._graph, name, np.array(scale, np.float32))
        return self._constants[key]

    def _zero(self, kind: ir.DataType, point: int = 0) -> ir.Value:
        key = (kind.name, float(point))
        if key not in self._constants:
            tensor = ir.tensor(np.array(point, kind.numpy()), dtype=kind)
            stem = f"shift_{point}" if point else "zero"
            self._constants[key] = add_initializer(
                self._graph, self._name(f"{stem}_{kind.name.lower()}"), tensor
            )
        return self._constants[key]


def best_grid(array: np.ndarray, *, signed: bool = False) -> Grid:
    """Return the 8-bit power-of-two grid of least squared error for a constant.

    It is signed if ``signed`` says so, or where a number is negative.
    """
    signed = signed or bool(np.any(array < 0))
    top = int(exponent_of(float(np.abs(array).max(initial=0.0))))
    exact = array.astype(np.float64)

    def error(exponent: int) -> float:
        scale = scales(exponent, bits=8, signed=signed)
        return float(np.sum((fake_quantize(exact, scale, bits=8, signed=signed) - exact) ** 2))

    return Grid(min((top + 1 - i for i in range(6)), key=error), 8, signed)


def integer_clip(graph: ir.Graph, after: ir.Node, low: int, high: int, name: Namer) -> ir.Value:
    """Insert Clip(low, high) on the 8-bit output of a node and return the clipped tensor."""
    value = after.outputs[0]
    kind = value.dtype or ir.DataType.UINT8
    bounds = [
        add_initializer(graph, name(f"{value.name}_{end}"), np.array(number, kind.numpy()))
        for end, number in (("min", low), ("max", high))
    ]
    clip = ir.node("Clip", [value, *bounds], name=name(f"{after.name}_clip"))
    clip.outputs[0].name = clip.name
    clip.outputs[0].type, clip.outputs[0].shape = value.type, value.shape
    graph.insert_after(after, clip)
    return clip.outputs[0]


def clip_behind(quantizer: ir.Node) -> ir.Node | None:
    """Return the Clip that leaves integers fewer bits than their type has, or None."""
    reader = sole_consumer(quantizer.outputs[0])
    return reader if reader is not None and reader.op_type == "Clip" else None


def integers_of(quantizer: ir.Node) -> ir.Value:
    """Return the integers of a quantizer as they are read, with a Clip right behind it or not."""
    return (clip_behind(quantizer) or quantizer).outputs[0]


def integer_ends(integers: ir.Value) -> tuple[int, int]:
    """Return the smallest and the largest integer that a Clip before them leaves, or their type.

    UINT8 where no type is known.
    """
    kind = integers.dtype or ir.DataType.UINT8
    low, high = integer_range(bits=kind.bitwidth, signed=kind.is_signed())
    clip = producer_of(integers)
    if clip is None or clip.op_type != "Clip":
        return low, high
    ends = [scalar(end) for end in (*clip.inputs[1:], None, None)[:2]]
    return low if ends[0] is None else int(ends[0]), high if ends[1] is None else int(ends[1])


def equal_pairs(node: ir.Node) -> tuple[ir.Value, ir.Node] | None:
    """Return the integers before an operator between pairs of one grid, and the second quantizer.

    None where the operator does not stand between such pairs or its output has other readers.
    """
    source = producer_of(node.inputs[0])
    behind = sole_consumer(node.outputs[0])
    if source is None or source.op_type != "DequantizeLinear":
        return None
    if behind is None or behind.op_type != "QuantizeLinear":
        return None
    grids = [tuple(map(scalar, each.inputs[1:3])) for each in (source, behind)]
    integers = source.inputs[0]
    if grids[0] != grids[1] or len(grids[0]) < 2 or None in grids[0] or integers is None:
        return None
    return (integers, behind) if integers.dtype == behind.outputs[0].dtype else None


def dequantized_constant(value: ir.Value | None) -> NDArray[np.float64] | None:
    """Return a constant, perhaps behind DequantizeLinear without zero points, or None."""
    array = constant(value)
    if array is not None:
        return array.astype(np.float64)
    node = producer_of(value)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    integers, scale = constant(node.inputs[0]), constant(node.inputs[1])
    if integers is None or scale is None or scale.ndim > 1:
        return None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        zeros = constant(node.inputs[2])
        if zeros is None or np.any(zeros.astype(np.int64)):
            return None
    axis = int_attribute(node, "axis", 1) % integers.ndim if scale.ndim else -1
    shape = [-1 if i == axis else 1 for i in range(integers.ndim)]
    return np.asarray(integers.astype(np.float64) * scale.astype(np.float64).reshape(shape))
