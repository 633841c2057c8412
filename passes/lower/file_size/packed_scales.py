"""Steps of weights in a byte each, looked up by ONNX Runtime when it loads the file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, constant

OPERATOR_BYTES = 250
"""About what the three operators and the table take in the file."""


@dataclass(frozen=True)
class PackedScales(ir.passes.InPlacePass):
    """Store the scales of all channels as indices into a table of the few that there are. Exact.

    Scales that are powers of two have a dozen values in a network, and there is one of four bytes
    for each channel: in small layers that is a tenth of a 4-bit file. ONNX Runtime folds

        scales = Split(Gather(table, Cast(indices)), channels)

    when it loads the model, from 1.16 on; all operators are those of opset 13.

    1. Lists of scales that DequantizeLinear reads (and whoever computes with constants alone).
    2. Declined: single scales, more than 256 different values, and where the file would not become
       smaller.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace all lists of scales at once."""
        graph = model.graph
        lists = _lists(graph)
        arrays = [constant(value) for value in lists]
        scales = np.concatenate([array for array in arrays if array is not None] or [np.empty(0)])
        table, indices = np.unique(scales.astype(np.float32), return_inverse=True)
        if len(table) > 256 or 3 * len(scales) < OPERATOR_BYTES + 4 * len(table):
            return ir.passes.PassResult(model, modified=False)
        name = Namer(graph)
        sizes = np.array([array.size for array in arrays if array is not None])
        stored = [
            add_initializer(graph, name(stem), array)
            for stem, array in (
                ("scale_indices", indices.astype(np.uint8)),
                ("scale_table", table),
                ("scale_sizes", sizes),
            )
        ]
        cast = ir.node("Cast", stored[:1], {"to": ir.DataType.INT32.value})
        gather = ir.node("Gather", [stored[1], cast.outputs[0]], {"axis": 0})
        split = ir.node(
            "Split", [gather.outputs[0], stored[2]], {"axis": 0}, num_outputs=len(lists)
        )
        for node in (cast, gather, split):
            node.name = name(f"scales_{node.op_type.lower()}")
            for output in node.outputs:
                output.name = name(node.name)
        for old, new in zip(lists, split.outputs, strict=True):
            new.type, new.shape = old.type, old.shape
            ir.convenience.replace_all_uses_with(old, new)
            graph.initializers.pop(old.name or "")
        graph.insert_before(graph[0], [cast, gather, split])
        return ir.passes.PassResult(model, modified=True)


def _lists(graph: ir.Graph) -> list[ir.Value]:
    """Constant scales of channels, in the order in which they are read first."""
    found: dict[ir.Value, None] = {}
    for node in graph:
        scale = node.inputs[1] if node.op_type == "DequantizeLinear" else None
        array = constant(scale)
        if scale is not None and array is not None and array.ndim == 1 and array.size > 1:
            found[scale] = None
    return list(found)
