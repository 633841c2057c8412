"""One scale instead of a list of equal ones, for runtimes that take weights per tensor only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, constant


@dataclass(frozen=True)
class ScalarScales(ir.passes.InPlacePass):
    """Write the scales of a DequantizeLinear as a number where all channels have the same. Exact.

    1. A constant list of equal scales, zero points 0 or none: the node loses its axis.
    2. Declined: scales that differ. ``QuantizeWeights(per_tensor=…)`` makes them equal.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every list that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in graph:
            scale = constant(node.inputs[1]) if node.op_type == "DequantizeLinear" else None
            zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            if scale is None or scale.ndim != 1 or not np.all(scale == scale[0]):
                continue
            if len(node.inputs) > 2 and (zero is None or np.any(zero.astype(np.int64))):
                continue
            stem = node.inputs[1].name if node.inputs[1] is not None else node.name
            number = add_initializer(graph, name(f"{stem}_scalar"), np.asarray(scale[0]))
            node.replace_input_with(1, number)
            node.resize_inputs(2)
            node.attributes.pop("axis", None)
            modified = True
        return ir.passes.PassResult(model, modified)
