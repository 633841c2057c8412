"""QuantizeLinear → DequantizeLinear on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from passes.arithmetic import Grid, exponent_of, fake_quantize, quantize, scales
from passes.graph import Namer, add_initializer, constant, is_float, producer_of

TYPES = {
    (8, True): ir.DataType.INT8,
    (8, False): ir.DataType.UINT8,
    (4, True): ir.DataType.INT4,
    (4, False): ir.DataType.UINT4,
}
"""Canonical integer type by bits and sign."""

Constants = Literal["any grid", "signed grid", "float"]


@dataclass(frozen=True)
class QuantizeActivations(ir.passes.InPlacePass):
    """Quantize tensors by name. Lossy: an error of at most Δ/2 inside the grid, clipped outside.

    1. Each tensor of ``grids`` goes through QuantizeLinear and DequantizeLinear, and everybody who
       read it reads the result. A graph output keeps its name. The zero point is the grid's shift:
       0 but for tensors that reach a little below zero. An Add of v before the pair would round
       half-way points to the other side; ``ShiftNegativeCorrection`` writes it where a runtime has
       no zero points.
    2. A constant operand of an Add or Mul whose other operand is quantized gets a pair of its own,
       on 8 bits, with the threshold of least squared error, so that the operator can run on
       integers.

    Attributes:
        grids: Grid of each tensor that is quantized. A name that the graph lacks is an error.
        constants: What becomes of constant operands: a grid that is unsigned where none of the
            constants is negative, a signed grid, or nothing, so that they stay float.
    """

    grids: Mapping[str, Grid]
    constants: Constants = "any grid"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Insert the pairs."""
        graph = model.graph
        values = {v.name: v for v in graph.inputs}
        values.update({output.name: output for node in graph for output in node.outputs})
        missing = [name for name in self.grids if name not in values]
        if missing:
            raise ValueError(f"tensors to quantize that the graph lacks: {', '.join(missing)}")
        name = Namer(graph)
        builder = PairBuilder(graph, name)
        for tensor, grid in self.grids.items():
            builder.quantize(values[tensor], grid)
        for node in list(graph) if self.constants != "float" else ():
            if node.op_type in ("Add", "Mul") and node.domain == "":
                builder.quantize_constant_operand(node, signed=self.constants == "signed grid")
        return ir.passes.PassResult(model, bool(self.grids))


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
        readers = list(value.uses())
        is_output = value.is_graph_output()
        stem = value.name or "tensor"
        scale = self._scale(grid.scale)
        zero = self._zero(TYPES[grid.bits, grid.signed], grid.shift)
        q, dq = pair_of(value, scale, zero, self._name)
        result = dq.outputs[0]
        if is_output:
            outputs = self._graph.outputs
            for index, output in enumerate(outputs):
                if output is value:
                    outputs[index] = result
            value.name = self._name(f"{stem}_float")
            result.name = stem
        for use in readers:
            use.node.replace_input_with(use.idx, result)
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], [q, dq])
        else:
            self._graph.insert_after(producer, [q, dq])

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
