"""A mean over height and width becomes a GlobalAveragePool, which has integer kernels."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import Namer, constant, int_attribute, ints, is_float, rank, replace


@dataclass(frozen=True)
class MeansToPools(ir.passes.InPlacePass):
    """Write ReduceMean over height and width as GlobalAveragePool. Exact: the same mean.

    Squeeze-and-excite is exported so where it is written ``x.mean((2, 3))``.

    1. A tensor of rank 4 and the axes 2 and 3, in any order and counted from either end, as
       attribute or input: GlobalAveragePool, and Flatten where the axes are not kept.
    2. Declined: other axes and ranks, computed axes, integers.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace every mean that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type != "ReduceMean" or node.domain != "" or not _is_spatial(node):
                continue
            output = node.outputs[0]
            new = [ir.node("GlobalAveragePool", node.inputs[:1], name=node.name)]
            if not int_attribute(node, "keepdims", 1):
                pooled = new[0].outputs[0]
                pooled.name, pooled.type = name(f"{output.name}_pooled"), output.type
                new.append(ir.node("Flatten", [pooled], name=name(f"{node.name}_flat")))
            graph.insert_before(node, new)
            replace(output, new[-1].outputs[0])
            graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


def _is_spatial(node: ir.Node) -> bool:
    source = node.inputs[0]
    if source is None or rank(source) != 4 or not is_float(source):
        return False
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    numbers = ints(node, "axes", ()) if axes is None else tuple(map(int, axes.reshape(-1)))
    return sorted(axis % 4 for axis in numbers) == [2, 3]
