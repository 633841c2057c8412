"""Constant additions and factors merge into the layer before them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.topology import post_processing
from passes.canonicalize.affine import Affine, fold_forwards, from_arithmetic
from passes.graph import Namer
from passes.layers import layer_of


@dataclass(frozen=True)
class FoldArithmetic(ir.passes.InPlacePass):
    """Fold Add, Sub, Mul and Div by a constant per channel into the layer before. Exact.

    1. After a Conv, ConvTranspose or Gemm whose output nobody else reads: W' = a·W, b' = a·b + c.
       Some exporters write a bias as an Add of its own, which would cost a quantization point.
    2. Declined: a factor in the post-processing behind a layer whose weight others read, such as
       the one that FCOS has for the boxes of each level: the levels' weights would differ.
    3. Anything else is left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold wherever it is legal."""
        graph = model.graph
        name = Namer(graph)
        tail = post_processing(graph)
        modified = False
        for node in list(graph):
            affine = from_arithmetic(node)
            if affine is not None and not (node in tail and _separates(affine)):
                modified = fold_forwards(affine, name) or modified
        return ir.passes.PassResult(model, modified)


def _separates(affine: Affine) -> bool:
    """Whether a factor would give a layer a weight of its own that it shares with others."""
    layer = layer_of(affine.source.producer())
    shares = layer is not None and len(layer.weight_value.uses()) > 1
    return shares and bool(np.any(affine.factor != 1))
