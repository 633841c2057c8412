"""A constant on the left of a MatMul becomes the weight of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import Namer, add_initializer, constant, is_float, name_of, rank, replace

_UNSQUEEZE_OPSET = 13
"""The first in which Unsqueeze and Squeeze have their axes as an input."""


@dataclass(frozen=True)
class LeftMatrices(ir.passes.InPlacePass):
    """Write C·X, of which C is constant, with the constant on the right. Exact: the same products.

    Quantizers and integer kernels know weights on the right of a MatMul, with a step per column.

    1. A matrix C (M, K) and X of shape (N, K, L): a 1×1 Conv of K channels at L positions, between
       Unsqueeze and Squeeze, which move nothing.
    2. Else C·X = (Xᵀ·Cᵀ)ᵀ: MatMul between two Transposes of the last axes.
    3. Declined: X of unknown rank, or of lower rank than C; integers.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every MatMul that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type != "MatMul" or node.domain != "" or not is_float(node.outputs[0]):
                continue
            left, right = constant(node.inputs[0]), node.inputs[1]
            dimensions = rank(right) if right is not None and constant(right) is None else None
            if left is None or dimensions is None or not 2 <= left.ndim <= dimensions:
                continue
            as_conv = left.ndim == 2 and dimensions == 3
            if as_conv and model.opset_imports.get("", 0) >= _UNSQUEEZE_OPSET:
                _write_conv(graph, node, left, name)
            else:
                _write_matmul(graph, node, left, dimensions, name)
            modified = True
        return ir.passes.PassResult(model, modified)


@dataclass(frozen=True)
class _Writer:
    """Nodes that take the place of one, in a row."""

    node: ir.Node
    name: Namer
    nodes: list[ir.Node]

    def add(
        self,
        kind: str,
        inputs: Sequence[ir.Value | None],
        attributes: dict[str, Sequence[int]] | None = None,
    ) -> ir.Value:
        """Append a node and return its output; a layer takes over the name."""
        is_layer = kind in ("Conv", "MatMul")
        label = self.node.name if is_layer else self.name(f"{self.node.name}_{kind.lower()}")
        new = ir.node(kind, inputs, attributes, name=label)
        output = self.node.outputs[0]
        new.outputs[0].name = self.name(f"{name_of(output)}_{kind.lower()}")
        new.outputs[0].type = output.type
        self.nodes.append(new)
        return new.outputs[0]

    def exchange(self, graph: ir.Graph) -> None:
        """Put the nodes in the place of the old one."""
        graph.insert_before(self.node, self.nodes)
        replace(self.node.outputs[0], self.nodes[-1].outputs[0])
        graph.remove(self.node, safe=True)


def _write_conv(graph: ir.Graph, node: ir.Node, left: NDArray[np.floating], name: Namer) -> None:
    """Case 1."""
    writer = _Writer(node, name, [])
    source, output = node.inputs[1], node.outputs[0]
    axes = add_initializer(graph, name(f"{node.name}_axes"), np.array([3], np.int64))
    weight = add_initializer(graph, name(name_of(node.inputs[0])), left[:, :, None, None])
    wide = writer.add("Unsqueeze", [source, axes])
    wide.shape = _with_one(source)
    layer = writer.add("Conv", [wide, weight], {"kernel_shape": [1, 1]})
    layer.shape = _with_one(output)
    writer.add("Squeeze", [layer, axes])
    writer.exchange(graph)


def _write_matmul(
    graph: ir.Graph,
    node: ir.Node,
    left: NDArray[np.floating],
    dimensions: int,
    name: Namer,
) -> None:
    """Case 2."""
    writer = _Writer(node, name, [])
    axes = [*range(dimensions - 2), dimensions - 1, dimensions - 2]
    source, output = node.inputs[1], node.outputs[0]
    right = np.ascontiguousarray(left.swapaxes(-1, -2))
    turned = writer.add("Transpose", [source], {"perm": axes})
    turned.shape = _swapped(source)
    weight = add_initializer(graph, name(name_of(node.inputs[0])), right)
    product = writer.add("MatMul", [turned, weight])
    product.shape = _swapped(output)
    writer.add("Transpose", [product], {"perm": axes})
    writer.exchange(graph)


def _with_one(value: ir.Value | None) -> ir.Shape | None:
    return ir.Shape([*value.shape, 1]) if value is not None and value.shape is not None else None


def _swapped(value: ir.Value | None) -> ir.Shape | None:
    if value is None or value.shape is None:
        return None
    *leading, rows, columns = value.shape
    return ir.Shape([*leading, columns, rows])
