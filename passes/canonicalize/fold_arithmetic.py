"""Constant additions and factors merge into the layer before them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.canonicalize.affine import fold_forwards, from_arithmetic
from passes.graph import Namer


@dataclass(frozen=True)
class FoldArithmetic(ir.passes.InPlacePass):
    """Fold Add, Sub, Mul and Div by a constant per channel into the layer before. Exact.

    1. After a Conv, ConvTranspose or Gemm whose output nobody else reads: W' = a·W, b' = a·b + c.
       Some exporters write a bias as an Add of its own, which would cost a quantization point.
    2. Anything else is left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold wherever it is legal."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            affine = from_arithmetic(node)
            if affine is not None:
                modified = fold_forwards(affine, name) or modified
        return ir.passes.PassResult(model, modified)
