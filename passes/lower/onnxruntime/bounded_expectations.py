"""The expectation over softmaxed bins without Softmax, where its logits are known to be small."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import (
    Namer,
    add_initializer,
    constant,
    int_attribute,
    ints,
    is_float,
    producer_of,
    rank,
    replace,
    scalar,
    sole_consumer,
)
from passes.operators import LAYOUT

_LARGEST = 64.0
"""exp of it is 6e27, and of its negative 2e-28: sums of either are far from float32's ends."""


@dataclass(frozen=True)
class BoundedExpectations(ir.passes.InPlacePass):
    """Compute Σ w·softmax(x) as Σ w·exp(x) / Σ exp(x). Exact up to the rounding of floats.

    Softmax subtracts the largest logit first, lest exp overflow. Quantized logits cannot be larger
    than their grid, and mostly need no such care. ONNX Runtime transposes before and after a
    Softmax over any axis but the last, whereas exp, products and sums are fast over all: this form
    takes half of the time. What it computes is float post-processing, which no grid follows.

    1. Transpose, Softmax on the last axis, Mul by a constant vector and ReduceSum on the last axis,
       as ``BinsLast`` writes them, behind dequantized 8-bit tensors of at most 64 in magnitude.
       Between those and the Transpose are only operators that move or join values. A Transpose of
       the sums stands for that of the logits.
    2. Declined: logits without bounds or with larger ones, and bins that need no Transpose.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every expectation that qualifies."""
        name = Namer(model.graph)
        modified = False
        for node in list(model.graph):
            chain = _chain_from(node)
            if chain:
                _rewrite(model.graph, chain, name)
                modified = True
        return ir.passes.PassResult(model, modified)


def _chain_from(move: ir.Node) -> tuple[ir.Node, ...]:
    """The four nodes of case 1, beginning with the Transpose; none for anything else."""
    chain = [move]
    for kind in ("Softmax", "Mul", "ReduceSum"):
        following = sole_consumer(chain[-1].outputs[0])
        if following is None or following.op_type != kind:
            return ()
        if following.domain != "" or following.inputs[0] is not chain[-1].outputs[0]:
            return ()
        chain.append(following)
    _, softmax, product, total = chain
    source, bins = move.inputs[0], constant(product.inputs[1])
    dimensions = rank(source) if source is not None else None
    if move.op_type != "Transpose" or source is None or dimensions is None or bins is None:
        return ()
    axes = constant(total.inputs[1]) if len(total.inputs) > 1 else None
    last = (-1, dimensions - 1)
    fits = int_attribute(softmax, "axis", -1) in last and bins.ndim == 1 and bins.size > 1
    fits = fits and axes is not None and axes.size == 1 and int(axes.item()) in last
    fits = fits and int_attribute(total, "keepdims", 1) == 1 and is_float(source)
    return tuple(chain) if fits and _bound(source) <= _LARGEST else ()


def _bound(value: ir.Value | None) -> float:
    """The largest magnitude that a tensor can have by its grids; infinite where it has none."""
    node = producer_of(value)
    if node is None or node.domain != "":
        return math.inf
    if node.op_type == "Concat":
        return max(map(_bound, node.inputs))
    if node.op_type in LAYOUT:
        return _bound(node.inputs[0])
    if node.op_type != "DequantizeLinear" or len(node.inputs) < 3 or node.inputs[2] is None:
        return math.inf
    step, point, kind = scalar(node.inputs[1]), scalar(node.inputs[2]), node.inputs[2].dtype
    if step is None or point is None or kind not in (ir.DataType.INT8, ir.DataType.UINT8):
        return math.inf
    limits = np.iinfo(kind.numpy())
    return step * max(point - int(limits.min), int(limits.max) - point)


def _rewrite(graph: ir.Graph, chain: Sequence[ir.Node], name: Namer) -> None:
    """Put the new nodes in the place of the chain."""
    move, _, product, total = chain
    source, bins = move.inputs[0], constant(product.inputs[1])
    assert source is not None  # its rank is known
    assert bins is not None  # _chain_from() has looked
    dimensions = rank(source) or 0
    perm = ints(move, "perm", range(dimensions - 1, -1, -1))
    axis = perm[-1]
    new: list[ir.Node] = []

    def emit(
        kind: str, inputs: Sequence[ir.Value], attributes: Mapping[str, int | Sequence[int]]
    ) -> ir.Value:
        node = ir.node(kind, inputs, attributes, name=name(f"{total.name}_{kind.lower()}"))
        node.outputs[0].name, node.outputs[0].type = node.name, total.outputs[0].type
        new.append(node)
        return node.outputs[0]

    stem = product.inputs[1].name or "bins" if product.inputs[1] is not None else "bins"
    shape = (-1, *(1,) * (dimensions - 1 - axis))
    weights = add_initializer(graph, name(f"{stem}_along"), bins.reshape(shape))
    axes = add_initializer(graph, name(f"{stem}_axis"), np.array([axis]))
    powers = emit("Exp", [source], {})
    above = emit("ReduceSum", [emit("Mul", [powers, weights], {}), axes], {"keepdims": 1})
    below = emit("ReduceSum", [powers, axes], {"keepdims": 1})
    moved = emit("Transpose", [emit("Div", [above, below], {})], {"perm": perm})
    graph.insert_before(total, new)
    replace(total.outputs[0], moved)
    for node in reversed(chain):
        graph.remove(node, safe=True)
