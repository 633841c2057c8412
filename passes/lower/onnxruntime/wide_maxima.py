"""Maxima of 4-bit tensors: a form that ONNX Runtime can load."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, scalar
from passes.lower.stored_activations import WIDER

_MAXIMA = frozenset({"MaxPool", "ReduceMax", "ReduceMin"})


@dataclass(frozen=True)
class WideMaxima(ir.passes.InPlacePass):
    """Store the largest or smallest of 4-bit values in 8 bits. Exact: it is one of them.

    Between equal pairs ONNX Runtime runs these operators on the integers, whatever their type, and
    then refuses the model: "Type 'tensor(uint4)' of input parameter … of operator (MaxPool) is
    invalid". Unlike pairs it leaves alone.

    1. MaxPool, ReduceMax, ReduceMin of a dequantized INT4 or UINT4 tensor, and of each other's
       results: the pair behind them becomes INT8 or UINT8 and keeps its scale and zero point.
    2. Declined: results on another grid than their input.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Widen the pairs in graph order, so that chains of maxima are found."""
        graph = model.graph
        name = Namer(graph)
        zeros: dict[tuple[ir.DataType, int], ir.Value] = {}
        widened: set[ir.Node] = set()
        for node in graph:
            if node.op_type not in _MAXIMA or node.domain != "" or node.inputs[0] is None:
                continue
            before = node.inputs[0].producer()
            for use in node.outputs[0].uses():
                pair = use.node
                if before is None or not _same_narrow_grid(before, pair, before in widened):
                    continue
                readers = [reader.node for reader in pair.outputs[0].uses()]
                zero = _wider_zero(graph, pair, zeros, name)
                for member in (pair, *readers):
                    member.replace_input_with(2, zero)
                pair.outputs[0].type = zero.type
                widened.update(readers)
        return ir.passes.PassResult(model, bool(widened))


def _same_narrow_grid(before: ir.Node, behind: ir.Node, is_widened: bool) -> bool:
    """Whether 4-bit integers stay what they are from one pair to the next."""
    if (before.op_type, behind.op_type) != ("DequantizeLinear", "QuantizeLinear"):
        return False
    if len(before.inputs) < 3 or len(behind.inputs) < 3 or behind.inputs[2] is None:
        return False
    kind = behind.inputs[2].dtype
    if kind not in WIDER or before.inputs[2] is None:
        return False
    grids = [tuple(map(scalar, node.inputs[1:3])) for node in (before, behind)]
    expected = WIDER[kind] if is_widened else kind
    return grids[0] == grids[1] and None not in grids[0] and before.inputs[2].dtype == expected


def _wider_zero(
    graph: ir.Graph,
    pair: ir.Node,
    zeros: dict[tuple[ir.DataType, int], ir.Value],
    name: Namer,
) -> ir.Value:
    zero, point = pair.inputs[2], int(scalar(pair.inputs[2]) or 0)
    assert zero is not None  # the pair has a 4-bit one
    assert zero.dtype is not None
    kind = WIDER[zero.dtype]
    if (kind, point) not in zeros:
        array = np.array(point, kind.numpy())
        stem = f"shift_{point}" if point else "zero"
        zeros[kind, point] = add_initializer(graph, name(f"{stem}_{kind.name.lower()}_wide"), array)
    return zeros[kind, point]
