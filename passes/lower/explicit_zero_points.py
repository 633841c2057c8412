"""The zero points that are 0, written out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, constant
from passes.operators import PAIR

_OPERATOR_BYTES = 200
"""About what the operators take in a file that make all vectors of a type."""

_VECTOR_BYTES = 30
"""About what a vector takes that is stored, beside its numbers; half of it where it is made."""


@dataclass(frozen=True)
class ExplicitZeroPoints(ir.passes.InPlacePass):
    """Give every QuantizeLinear and DequantizeLinear a zero point. Exact: 0 is their default.

    Where it is left out, ONNX Runtime does not always know its default: the conversion to ORT
    format with runtime optimizations ends in an error, and since pull request 28714 a Gemm whose
    weights have no zero points stays in float.

    1. A node with a constant scale and no zero point gets zeros of the type of its integers in the
       shape of the scale, as the standard asks for. Those of one type and shape are written once.
    2. With ``folded``, the vectors of a type are parts of one where that makes the file smaller:
       ``Split(Expand(0, total), lengths)``, which ONNX Runtime folds when it loads the model.
    3. Declined: integers of unknown type, and scales that are computed.

    Attributes:
        folded: Whether the runtime folds constants, so that vectors need not be stored.
    """

    folded: bool = False

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Collect the nodes by type and shape of what they lack, then write each once."""
        graph = model.graph
        lacking: dict[ir.DataType, dict[tuple[int, ...], list[ir.Node]]] = {}
        for node in graph:
            scale, kind = constant(node.inputs[1]) if _lacks_zero(node) else None, _type(node)
            if scale is not None and kind is not None:
                lacking.setdefault(kind, {}).setdefault(scale.shape, []).append(node)
        name = Namer(graph)
        for kind, nodes in lacking.items():
            lengths = sorted(shape[0] for shape in nodes if len(shape) == 1)
            made = self.folded and _is_smaller_made(lengths, kind)
            vectors = _made(graph, kind, lengths, name) if made else {}
            for shape, readers in nodes.items():
                zero = vectors.get(shape[0]) if len(shape) == 1 else None
                zero = zero or _stored(graph, kind, shape, name)
                for node in readers:
                    node.resize_inputs(3)
                    node.replace_input_with(2, zero)
        return ir.passes.PassResult(model, bool(lacking))


def _lacks_zero(node: ir.Node) -> bool:
    if node.op_type not in PAIR or node.domain != "":
        return False
    return len(node.inputs) < 3 or node.inputs[2] is None


def _type(node: ir.Node) -> ir.DataType | None:
    """The type of a node's integers; None for any other node and where it is not known."""
    if node.op_type == "QuantizeLinear":
        return node.outputs[0].dtype
    value = node.inputs[0] if node.op_type == "DequantizeLinear" else None
    return None if value is None else value.dtype


def _is_smaller_made(lengths: Collection[int], kind: ir.DataType) -> bool:
    """Whether operators take less room than vectors of these lengths."""
    stored = sum(lengths) * kind.itemsize + _VECTOR_BYTES * len(lengths)
    return _OPERATOR_BYTES + _VECTOR_BYTES // 2 * len(lengths) < stored


def _stored(graph: ir.Graph, kind: ir.DataType, shape: tuple[int, ...], name: Namer) -> ir.Value:
    sides = "".join(f"_{side}" for side in shape)
    tensor = ir.tensor(np.zeros(shape, kind.numpy()), dtype=kind)
    return add_initializer(graph, name(f"zero_{kind.name.lower()}{sides}"), tensor)


def _made(
    graph: ir.Graph, kind: ir.DataType, lengths: Sequence[int], name: Namer
) -> dict[int, ir.Value]:
    """Vectors of zeros by their length, made by the operators of case 2."""
    total, sizes = (
        add_initializer(graph, name(f"zeros_{stem}"), np.array(numbers))
        for stem, numbers in (("total", [sum(lengths)]), ("lengths", lengths))
    )
    expand = ir.node("Expand", [_stored(graph, kind, (), name), total])
    split = ir.node("Split", [expand.outputs[0], sizes], {"axis": 0}, num_outputs=len(lengths))
    for node in (expand, split):
        node.name = name(f"zeros_{kind.name.lower()}_{node.op_type.lower()}")
        for output in node.outputs:
            output.name, output.type = name(node.name), ir.TensorType(kind)
    for output, length in zip(split.outputs, lengths, strict=True):
        output.shape = ir.Shape([length])
    graph.insert_before(graph[0], [expand, split])
    return dict(zip(lengths, split.outputs, strict=True))
