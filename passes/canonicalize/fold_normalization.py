"""The normalisation of pixels at the front of a network becomes part of the first layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.canonicalize.affine import Affine, fold_backwards, from_arithmetic, from_batchnorm
from passes.graph import Namer, sole_consumer


@dataclass(frozen=True)
class FoldNormalization(ir.passes.InPlacePass):
    """Fold what is multiplied and added to the picture into the Convs that read it. Exact.

    With y = a·x + b per channel, x the first input, from any number of Mul, Div, Add, Sub and
    BatchNormalization in a row:

    1. b is 0, or no Conv pads: W' = W·a, and W·b goes into the bias. Pixels of 8 bits are then
       what the first layer multiplies.
    2. Declined: a Conv pads and b is not 0, because the zeros that it adds stand for y and not for
       x; a factor of 0; anything but Conv with constant weights reads the result; somebody reads
       what is in between.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Look at what stands behind the first input."""
        graph = model.graph
        maps = _maps(graph.inputs[0]) if len(graph.inputs) else []
        if not maps:
            return ir.passes.PassResult(model, modified=False)
        whole = maps[0]
        for each in maps[1:]:
            shift = each.factor * whole.shift + each.shift
            whole = Affine(each.node, whole.source, each.factor * whole.factor, shift)
        modified = bool(np.all(whole.factor)) and fold_backwards(graph, whole, Namer(graph))
        for each in reversed(maps[:-1]) if modified else ():
            graph.remove(each.node, safe=True)
        return ir.passes.PassResult(model, modified)


def _maps(value: ir.Value) -> list[Affine]:
    """The maps in a row that a value goes through."""
    found: list[Affine] = []
    while (node := sole_consumer(value)) is not None:
        affine = from_arithmetic(node) or from_batchnorm(node)
        if affine is None or affine.source is not value or node.graph is not value.graph:
            break
        found.append(affine)
        value = node.outputs[0]
    return found
