"""Signed tensors that are moved in float: a form that ONNX Runtime can load."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.arithmetic import Grid
from passes.graph import Namer, producer_of, scalar
from passes.qdq import BITS_AND_SIGN, PairBuilder, dequantized_scale

_MOVES = frozenset({"MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that ONNX Runtime moves a DequantizeLinear through."""

_SINCE = 21
"""The first opset whose QuantizeLinear has ``output_dtype``."""


@dataclass(frozen=True)
class PairsBehindLayout(ir.passes.InPlacePass):
    """Quantize what an operator selects from an INT8 tensor once more, on the same grid. Exact.

    ONNX Runtime puts such a pair there itself and marks it INT8 (since pull request 28144); on x86
    it then makes the pair UINT8, trips over the mark and refuses the model: "output_dtype INT8 does
    not match y_zero_point type UINT8". It puts none where there is one.

    1. MaxPool, Reshape, Slice, Squeeze, Transpose, Unsqueeze of a dequantized INT8 tensor, and of
       their own results: QuantizeLinear → DequantizeLinear behind them.
    2. The same of UINT8, INT4 and UINT4 tensors with ``every``, for a lowering that makes INT8 of
       them afterwards.
    3. Declined: models below opset 21, whose QuantizeLinear has no such mark; results that only
       QuantizeLinear reads; scales per channel, and others than powers of two.

    Attributes:
        every: Whether tensors of other types are quantized once more, too.
    """

    every: bool = False

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Add the pairs in graph order, so that those behind a pair are found as well."""
        graph = model.graph
        if graph.opset_imports.get("", 0) < _SINCE:
            return ir.passes.PassResult(model, False)
        builder = PairBuilder(graph, Namer(graph))
        modified = False
        for node in graph:
            grid = self._grid(node.inputs[0]) if node.op_type in _MOVES else None
            result = node.outputs[0]
            readers = [use.node.op_type for use in result.uses()]
            is_read = result.is_graph_output() or set(readers) - {"QuantizeLinear"}
            if grid is not None and node.domain == "" and is_read:
                builder.quantize(result, grid)
                modified = True
        return ir.passes.PassResult(model, modified)

    def _grid(self, value: ir.Value | None) -> Grid | None:
        """The grid of a dequantized tensor that qualifies."""
        node = producer_of(value)
        scale = dequantized_scale(value)
        if node is None or scale is None or node.inputs[0] is None:
            return None
        mantissa, exponent = np.frexp(scale)
        kind = node.inputs[0].dtype
        if (
            kind not in BITS_AND_SIGN
            or mantissa != 0.5
            or not (self.every or kind == ir.DataType.INT8)
        ):
            return None
        bits, signed = BITS_AND_SIGN[kind]
        point = scalar(node.inputs[2]) if len(node.inputs) > 2 else None
        return Grid(int(exponent) - 1 + bits - signed, bits, signed, int(point or 0))
