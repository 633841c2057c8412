"""Upper bounds per channel that the top of the grid makes superfluous."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.bounds import least_of_minimum
from passes.graph import scalar, sole_consumer
from passes.qdq import integer_ends, integers_of

logger = logging.getLogger(__name__)

_UNSIGNED = (ir.DataType.UINT8, ir.DataType.UINT4)


@dataclass(frozen=True)
class AbsorbedBounds(ir.passes.InPlacePass):
    """Remove Min(x, b) before Relu → QuantizeLinear where b is at or above the top of the grid.

    ``EqualizeChannels`` writes it for a scaled ReLU6. Exact behind QuantizeLinear: rounding is
    monotone, so where b ≥ q_max·Δ, round(min(x, b)/Δ) saturates to q_max wherever min cuts off.
    Runs on the canonical graph, before ``IntegerClips`` removes the Relu.

    1. The grid is unsigned with zero point 0, and every b is at or above its top.
    2. Declined: somebody else reads the tensors in between, a smaller b, another grid. The layer
       before it then stays in float on runtimes that fuse.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Remove every Min that its grid absorbs."""
        graph = model.graph
        modified = False
        for node in list(graph):
            source, bounds = least_of_minimum(node)
            if source is None:
                continue
            if not bounds >= _top(node.outputs[0]):
                logger.debug("%s stays: its bound is below the top of the grid", node.name)
                continue
            ir.convenience.replace_all_uses_with(node.outputs[0], source)
            graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


def _top(value: ir.Value) -> float:
    """Largest value of the grid that quantizes Relu(value) alone; infinite where there is none."""
    relu = sole_consumer(value)
    quantizer = sole_consumer(relu.outputs[0]) if relu is not None else None
    if relu is None or relu.op_type != "Relu" or quantizer is None:
        return np.inf
    if quantizer.op_type != "QuantizeLinear" or len(quantizer.inputs) < 3:
        return np.inf
    scale, zero = scalar(quantizer.inputs[1]), quantizer.inputs[2]
    if scale is None or zero is None or scalar(zero) != 0 or zero.dtype not in _UNSIGNED:
        return np.inf
    return integer_ends(integers_of(quantizer))[1] * scale
