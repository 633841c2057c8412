"""QuantizeLinear → DequantizeLinear on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from passes.analysis.coordinates import coordinate_values, wants_grid
from passes.analysis.float_regions import is_mask
from passes.arithmetic import Grid
from passes.graph import Namer
from passes.qdq import PairBuilder

Constants = Literal["any grid", "signed grid", "float"]


@dataclass(frozen=True)
class QuantizeActivations(ir.passes.InPlacePass):
    """Quantize tensors by name. Lossy: an error of at most Δ/2 inside the grid, clipped outside.

    1. Each tensor of ``grids`` goes through QuantizeLinear and DequantizeLinear, and everybody who
       read it reads the result. A graph output keeps its name. The zero point is the grid's shift:
       0 but for tensors that reach a little below zero. An Add of v before the pair would round
       half-way points to the other side; ``ShiftNegativeCorrection`` writes it where a runtime has
       no zero points.
    2. Coordinates are rounded for the layers alone that read them (``coordinate_values``).
    3. A constant operand of an Add or Mul whose other operand is quantized gets a pair of its own,
       on 8 bits, with the threshold of least squared error, so that the operator can run on
       integers. Not one that masks logits, which reaches too far for a grid.

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
        coordinates = coordinate_values(graph)
        for tensor, grid in self.grids.items():
            value = values[tensor]
            if value in coordinates:
                readers = [use for use in value.uses() if wants_grid(use.node)]
                builder.quantize_for(readers, value, grid)
            else:
                builder.quantize(value, grid)
        for node in list(graph) if self.constants != "float" else ():
            masks = any(value is not None and is_mask(value) for value in node.inputs)
            if node.op_type in ("Add", "Mul") and node.domain == "" and not masks:
                builder.quantize_constant_operand(node, signed=self.constants == "signed grid")
        return ir.passes.PassResult(model, bool(self.grids))
