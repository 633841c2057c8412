"""Products with constants that let a factor begin behind a function that cannot carry one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import Namer, add_initializer, channels, is_silu, spatial_ones
from passes.operators import NOT_HOMOGENEOUS

Floats = NDArray[np.float64]

_HIGHEST = 32.0
"""Factors below it are never coarser than 1/8, so that one near 1 is met within an eighth."""


def insert_scales(graph: ir.Graph, name: Namer) -> tuple[ir.Node, ...]:
    """Insert Mul(y, ·), still without its constant, wherever a factor could begin.

    1. y is x·Sigmoid(x), HardSwish, GELU, ELU or the like.
    2. Declined: outputs of the graph, unknown channels, nobody who reads y.

    Returns:
        The products, in graph order.
    """
    inserted = []
    for node in list(graph):
        y = node.outputs[0]
        begins = is_silu(node) or (node.op_type in NOT_HOMOGENEOUS and node.domain == "")
        if not begins or y.is_graph_output() or channels(y) is None or not y.uses():
            continue
        product = ir.node("Mul", [y, None], name=name(f"{y.name}_scaled"))
        output = product.outputs[0]
        output.name, output.type, output.shape = product.name, y.type, y.shape
        for use in list(y.uses()):
            if use.node is not product:
                use.node.replace_input_with(use.idx, output)
        graph.insert_after(node, product)
        inserted.append(product)
    return tuple(inserted)


def representable(factors: Floats, limit: float) -> Floats:
    """Round factors down to what 8 bits on a power-of-two grid hold exactly.

    With T the power of two at or above the limit, 32 at most: s = n·T/256, n an integer up to 255.
    One T for all tensors, because their channels may share factors.

    Args:
        factors: All at least 1, any shape.
        limit: Largest factor.
    """
    step = 2.0 ** np.ceil(np.log2(np.clip(limit, 2.0, _HIGHEST))) / 256
    return np.asarray(step * np.floor(np.minimum(factors / step, 255.0)), np.float64)


def scaled_tensor(product: ir.Node) -> ir.Value:
    """Return the y of an inserted Mul(y, s)."""
    value = product.inputs[0]
    assert value is not None  # that is how it was made
    return value


def fill_scale(graph: ir.Graph, product: ir.Node, factor: Floats | None, name: Namer) -> None:
    """Write the constant of an inserted product, shape (1, C, 1, …); without one, remove it."""
    source = scaled_tensor(product)
    if factor is None:
        ir.convenience.replace_all_uses_with(product.outputs[0], source)
        graph.remove(product, safe=True)
        return
    array = factor.astype(np.float32).reshape(1, -1, *spatial_ones(source))
    product.replace_input_with(1, add_initializer(graph, name(f"{source.name}_scale"), array))
