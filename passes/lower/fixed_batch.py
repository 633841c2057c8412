"""A batch of one instead of any, for runtimes without dynamic shapes."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass


@dataclass(frozen=True)
class FixedBatch(ir.passes.InPlacePass):
    """Fix the first dimension of every input that leaves it open. Exact for batches of that size.

    1. The dimensions that bear the same name become that number in all shapes; shapes are inferred
       anew.
    2. Left alone: a batch that is fixed, inputs of unknown rank.

    Attributes:
        size: Pictures in the batch.
    """

    size: int = 1

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the shapes."""
        graph = model.graph
        names: set[str | None] = set()
        for value in graph.inputs:
            first = value.shape[0] if value.shape else self.size
            if not isinstance(first, int):
                names.add(first.value)
                _fix(value, {first.value}, self.size, first_too=True)
        if not names:
            return ir.passes.PassResult(model, False)
        for node in graph:
            for value in node.outputs:
                _fix(value, names, self.size, first_too=False)
        ShapeInferencePass()(model)
        return ir.passes.PassResult(model, True)


def _fix(value: ir.Value, names: set[str | None], size: int, *, first_too: bool) -> None:
    """Replace named dimensions; the first one of an input has perhaps no name."""
    if value.shape is None:
        return
    value.shape = ir.Shape(
        size
        if not isinstance(d, int)
        and ((d.value is not None and d.value in names) or (first_too and index == 0))
        else d
        for index, d in enumerate(value.shape)
    )
