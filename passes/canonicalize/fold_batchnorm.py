"""BatchNormalization merges into the layer beside it."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.canonicalize.affine import fold_backwards, fold_forwards, from_batchnorm
from passes.graph import Namer


@dataclass(frozen=True)
class FoldBatchNorm(ir.passes.InPlacePass):
    """Fold y = a·x + b, a = γ/√(σ²+ε), b = β − a·μ, into a neighbouring layer. Exact.

    1. After a Conv, ConvTranspose (any groups) or Gemm whose output nobody else reads:
       W' = a·W along the output channels, b' = a·b + β − a·μ. The layer's output takes over the
       name of the BatchNormalization's output.
    2. Else, with ``backwards``, before Convs only, none of which pads:
       W' = W·a along the input channels, b' = b + Σ W·b.
    3. Anything else is left alone, see ``BatchNormToConv``.

    Attributes:
        backwards: Whether case 2 is allowed. It makes the BatchNormalization's output disappear.
    """

    backwards: bool = True

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold wherever it is legal."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            affine = from_batchnorm(node)
            if affine is None:
                continue
            folded = fold_forwards(affine, name)
            if not folded and self.backwards:
                folded = fold_backwards(graph, affine, name)
            modified = modified or folded
        return ir.passes.PassResult(model, modified)
