"""Shift-negative correction: unsigned tensors that reach a little below zero, no zero points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, ints, is_float, scalar
from passes.lower.shifted_bias import corrected_bias, weight_sums
from passes.operators import SAME_GRID
from passes.qdq import integers_of

_UNSIGNED = (ir.DataType.UINT8, ir.DataType.UINT4)


@dataclass(frozen=True)
class ShiftNegativeCorrection(ir.passes.InPlacePass):
    """Turn zero points z of unsigned tensors into additions, for runtimes without zero points.

    A pair with zero point z and step Δ becomes Add(y, v), v = z·Δ, and a pair with zero point 0
    (SNC of HPTQ, arXiv 2109.09113). What reads y + v instead of y:

    1. Conv: b' = b − v·ΣW, and an explicit Pad with v where it pads, whose result has a pair of its
       own on the same grid. Gemm: b' = b − v·ΣW. MatMul with a constant matrix: Sub behind it.
    2. An operator that only selects values (``SAME_GRID``; Resize: nearest): its readers take over.
       A QuantizeLinear takes over by an Add of the difference.
    3. Anything else, and a layer that cannot take it (see ``weight_sums``): Sub(·, v) before it.
    4. Declined: a pair whose integers somebody else reads, so this runs before the lowering to one
       runtime.

    Exact in real numbers, and behind QuantizeLinear to the last bit, biases on integers too. The
    rounding itself differs where y/Δ lies half-way between two integers and z is odd, or so near
    that float32 rounds y + v there: the tie goes to the other of two equally near values.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every pair that has a shift, in graph order."""
        correction = _Correction(model.graph)
        modified = False
        for node in list(model.graph):
            if node.op_type == "QuantizeLinear" and node.domain == "":
                modified = correction.unshift(node) or modified
        return ir.passes.PassResult(model, modified)


class _Correction:
    """Walks from each shifted pair to what reads it; equal constants and Pads are written once."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._name = Namer(graph)
        self._carried: dict[ir.Value, float] = {}
        self._constants: dict[tuple[ir.DataType, float], ir.Value] = {}
        self._padded: dict[tuple[ir.Value, tuple[int, ...]], ir.Value] = {}

    def unshift(self, quantizer: ir.Node) -> bool:
        """Replace a zero point, less what the quantizer's input carries already, by an Add."""
        source = quantizer.inputs[0]
        assert source is not None
        shift, carried = _shift(quantizer), self._carried.get(source, 0.0)
        if shift != carried:
            added = self._node("Add", [source, self._constant(shift - carried)], f"{source.name}_v")
            self._graph.insert_before(quantizer, added)
            quantizer.replace_input_with(0, added.outputs[0])
        if shift:
            readers = [use.node for use in integers_of(quantizer).uses()]
            zero = self._constant(0, quantizer.outputs[0].dtype or ir.DataType.UINT8)
            for node in (quantizer, *readers):
                node.replace_input_with(2, zero)
            for node in readers:
                self._carry(node.outputs[0], shift)
        return shift != 0 or carried != 0

    def _carry(self, value: ir.Value, shift: float) -> None:
        """Tell all readers of a tensor that it has become larger by ``shift``."""
        self._carried[value] = shift
        uses = [(use.node, use.idx) for use in value.uses()]
        rest = [use for use in uses if not self._takes_over(value, *use, shift)]
        if rest or value.is_graph_output():
            self._subtract(value, rest, self._constant(shift))

    def _takes_over(self, value: ir.Value, node: ir.Node, index: int, shift: float) -> bool:
        """Let one reader compute what it did before, or hand the shift on; False if it cannot."""
        if index != 0 or node.graph is not self._graph or node.domain != "":
            return False
        if _selects(node):
            for output in node.outputs:
                if is_float(output):
                    self._carry(output, shift)
            return True
        # A quantizer's own turn comes later: the walk goes in graph order.
        return node.op_type == "QuantizeLinear" or self._corrects(node, value, shift)

    def _corrects(self, layer: ir.Node, value: ir.Value, shift: float) -> bool:
        sums = weight_sums(layer)
        if sums is None:
            return False
        if layer.op_type == "MatMul":
            change = add_initializer(
                self._graph, self._name(f"{layer.name}_shift"), (shift * sums).astype(np.float32)
            )
            output = layer.outputs[0]
            self._subtract(output, [(use.node, use.idx) for use in output.uses()], change)
            return True
        bias = corrected_bias(self._graph, layer, shift * sums, self._name)
        if bias is None:
            return False
        layer.resize_inputs(3)
        layer.replace_input_with(2, bias)
        pads = ints(layer, "pads", ())
        if any(pads):
            layer.replace_input_with(0, self._pad(value, pads, shift))
            layer.attributes["pads"] = ir.AttrInt64s("pads", [0] * len(pads))
        return True

    def _pad(self, value: ir.Value, pads: tuple[int, ...], shift: float) -> ir.Value:
        """Return the tensor in a frame of ``shift``, quantized again where it was before."""
        key = (value, pads)
        source = value.producer()
        assert source is not None
        if key not in self._padded:
            half = len(pads) // 2
            widths = np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64)
            name = self._name(f"{value.name}_pads")
            inputs = [value, add_initializer(self._graph, name, widths), self._constant(shift)]
            nodes = [self._node("Pad", inputs, f"{value.name}_pad")]
            if source.op_type == "DequantizeLinear":
                for op_type in ("QuantizeLinear", "DequantizeLinear"):
                    last = nodes[-1].outputs[0]
                    nodes.append(self._node(op_type, [last, *source.inputs[1:]], f"{last.name}_q"))
            self._graph.insert_after(source, nodes)
            self._padded[key] = nodes[-1].outputs[0]
        return self._padded[key]

    def _subtract(
        self, value: ir.Value, uses: Iterable[tuple[ir.Node, int]], less: ir.Value
    ) -> None:
        """Put a Sub before some readers of a tensor, and before the graph output that it is."""
        producer = value.producer()
        assert producer is not None
        node = self._node("Sub", [value, less], f"{value.name}_unshifted")
        self._graph.insert_after(producer, node)
        result = node.outputs[0]
        for reader, index in uses:
            reader.replace_input_with(index, result)
        for index, output in enumerate(self._graph.outputs):
            if output is value:
                self._graph.outputs[index] = result
                stem = value.name or "output"
                value.name = self._name(f"{stem}_shifted")
                result.name = stem

    def _node(self, op_type: str, inputs: Sequence[ir.Value | None], stem: str) -> ir.Node:
        """Return a node of one output, which is named and typed."""
        node = ir.node(op_type, inputs, name=self._name(stem))
        output, source = node.outputs[0], inputs[0]
        kind = {"QuantizeLinear": inputs[-1], "DequantizeLinear": inputs[1]}.get(op_type, source)
        assert source is not None
        assert kind is not None
        output.name, output.type = node.name, kind.type
        output.shape = None if op_type == "Pad" else source.shape
        return node

    def _constant(self, number: float, kind: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        key = (kind, number)
        if key not in self._constants:
            tensor = ir.tensor(np.array(number, kind.numpy()), dtype=kind)
            name = self._name(f"{'shift' if number else 'zero'}_{kind.name.lower()}")
            self._constants[key] = add_initializer(self._graph, name, tensor)
        return self._constants[key]


def _shift(quantizer: ir.Node) -> float:
    """Return v = z·Δ of an unsigned pair; 0 for others and where somebody reads the integers."""
    integers = integers_of(quantizer)  # a Clip leaves the same ones, whatever the zero point
    point = scalar(quantizer.inputs[2]) if len(quantizer.inputs) > 2 else None
    step = scalar(quantizer.inputs[1])
    if integers.dtype not in _UNSIGNED or point is None or step is None:
        return 0.0
    if any(use.node.op_type != "DequantizeLinear" for use in integers.uses()):
        return 0.0
    return point * step


def _selects(node: ir.Node) -> bool:
    """Whether every output value is one of the input values."""
    if node.op_type not in SAME_GRID:
        return False
    if node.op_type != "Resize":
        return True
    mode, position = (node.attributes.get(a) for a in ("mode", "coordinate_transformation_mode"))
    cropped = position is not None and position.as_string() == "tf_crop_and_resize"
    return (mode is None or mode.as_string() == "nearest") and not cropped
