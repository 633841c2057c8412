"""A BatchNormalization that nothing could absorb becomes a depthwise 1×1 Conv."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.canonicalize.affine import from_batchnorm
from passes.graph import Namer, add_initializer, rank, replace


@dataclass(frozen=True)
class BatchNormToConv(ir.passes.InPlacePass):
    """Write y = a·x + b as Conv(x, W = a, bias = b, group = C). Exact.

    1. A tensor of rank 3 to 5: kernel 1 in every spatial dimension. It is then quantized like any
       other layer instead of staying in float.
    2. Any other rank, or computed parameters: left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace what is left of BatchNormalization."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            affine = from_batchnorm(node)
            dimensions = rank(affine.source) if affine is not None else None
            if affine is None or dimensions is None or not 3 <= dimensions <= 5:
                continue
            spatial = (1,) * (dimensions - 2)
            weight = affine.factor.reshape(-1, 1, *spatial).astype(np.float32)
            stem = node.outputs[0].name
            inputs = [
                affine.source,
                add_initializer(graph, name(f"{stem}_weight"), weight),
                add_initializer(graph, name(f"{stem}_bias"), affine.shift.astype(np.float32)),
            ]
            conv = ir.node(
                "Conv",
                inputs,
                attributes={"group": len(affine.factor), "kernel_shape": spatial},
                name=name(f"{node.name}_conv"),
            )
            graph.insert_before(node, conv)
            replace(node.outputs[0], conv.outputs[0])
            graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)
