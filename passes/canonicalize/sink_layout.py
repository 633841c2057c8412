"""Values are moved as late as possible: behind activation functions and small 1×1 layers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.topology import post_processing
from passes.canonicalize.phase_layers import append_like, behind_conv, exchange, merged
from passes.graph import Namer, constant, scalar, sole_consumer
from passes.operators import POINTWISE


@dataclass(frozen=True)
class SinkLayout(ir.passes.InPlacePass):
    """Move DepthToSpace, and Reshape of a Gemm, behind what does not care where a value is. Exact.

    A layer fuses with the activation function right behind it, and pixels that are shuffled in the
    post-processing are no work between integer layers.

    1. f(DepthToSpace(x)) → DepthToSpace(f(x)) for activation functions f, and so for x·f(x). A
       Slice right behind the DepthToSpace moves with it, and so does a Concat of layers before it.
    2. A 1×1 Conv W behind it: one Conv with W once for each phase in the diagonal of its matrix,
       zeros elsewhere, then DepthToSpace. Every product with a zero is a loss, so only for matrices
       of up to ``largest`` elements, such as the last layers of segmentation and text detection.
    3. DepthToSpace behind DepthToSpace behind a Conv: one with the product of their block sizes;
       the outputs of the Conv change places.
    4. A Reshape of what a Gemm puts out moves as in case 1. Exporters and simplifiers frame a Gemm
       with two of them where tokens stand on an axis of their own. Of two Reshapes in a row the
       second is enough, unless it copies a size.
    5. Declined: functions of the post-processing, whose layers come before; where somebody else
       reads a tensor in between; layers with padding, stride or groups, or computed weights.

    Attributes:
        largest: Elements of the matrix of case 2.
    """

    largest: int = 2**13

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Move every DepthToSpace as far as it goes."""
        graph = model.graph
        name, tail = Namer(graph), post_processing(graph)
        modified = False
        for node in list(graph):
            starts = node.graph is graph and (_is_shuffle(node) or _is_behind_gemm(node))
            moved: ir.Node | None = node if starts else None
            while moved is not None:
                moved = _step(graph, moved, tail, self.largest, name)
                modified = modified or moved is not None
        return ir.passes.PassResult(model, modified)


def _step(
    graph: ir.Graph, shuffle: ir.Node, tail: Collection[ir.Node], largest: int, name: Namer
) -> ir.Node | None:
    """Move a DepthToSpace or Reshape by one place and return the one that now stands there."""
    layout = [shuffle]
    behind = sole_consumer(shuffle.outputs[0])
    if behind is not None and behind.op_type == "Slice" and behind.inputs[0] is shuffle.outputs[0]:
        layout.append(behind)
    functions = _functions(layout[-1].outputs[0])
    if functions and functions[0] not in tail:
        return _behind_functions(graph, layout, functions, name)
    if behind is None or behind.domain != "" or len(layout) > 1:
        return None
    if shuffle.op_type == "Reshape":
        return _last_reshape(graph, shuffle, behind)
    if behind.op_type == "Conv":
        return behind_conv(graph, shuffle, behind, largest, name)
    return merged(graph, shuffle, behind, name) if _is_shuffle(behind) else None


def _is_shuffle(node: ir.Node) -> bool:
    return node.op_type == "DepthToSpace" and node.domain == ""


def _is_behind_gemm(node: ir.Node) -> bool:
    source = node.inputs[0].producer() if node.op_type == "Reshape" and node.inputs[0] else None
    return source is not None and source.op_type == "Gemm" and source.domain == ""


def _last_reshape(graph: ir.Graph, first: ir.Node, second: ir.Node) -> ir.Node | None:
    """Leave out the first of two Reshapes."""
    target = constant(second.inputs[1]) if second.op_type == "Reshape" else None
    if target is None or not np.all(target):
        return None
    second.replace_input_with(0, first.inputs[0])
    graph.remove(first, safe=True)
    return second


def _functions(value: ir.Value) -> list[ir.Node]:
    """The activation function that alone reads a value: one node, or two for x·f(x)."""
    readers = {use.node: None for use in value.uses()}
    if value.is_graph_output() or not 1 <= len(readers) <= 2:
        return []
    pointwise = [node for node in readers if _is_pointwise(node, value)]
    if len(pointwise) == len(readers) == 1:
        return pointwise
    for node in pointwise:
        gate = sole_consumer(node.outputs[0])
        if gate is not None and gate.op_type == "Mul" and {*gate.inputs} == {value, *node.outputs}:
            return [node, gate] if readers.keys() == {node, gate} else []
    return []


def _is_pointwise(node: ir.Node, value: ir.Value) -> bool:
    parameters = [v for v in node.inputs[1:] if v is not None]
    return (
        node.op_type in POINTWISE
        and node.domain == ""
        and node.inputs[0] is value
        and all(scalar(parameter) is not None for parameter in parameters)
    )


def _behind_functions(
    graph: ir.Graph, layout: list[ir.Node], functions: list[ir.Node], name: Namer
) -> ir.Node:
    """Write the functions once more before the layout operators, and those behind them."""
    before, moved, last = layout[0].inputs[0], layout[-1].outputs[0], functions[-1].outputs[0]
    assert before is not None
    joined = _joined_layers(before, layout[0])
    sources = [before] if joined is None else list(joined.inputs)
    new: list[ir.Node] = []
    results: list[ir.Value] = []
    for source in sources:
        replacements = {moved: source}
        for node in functions:
            inputs = [v if v is None else replacements.get(v, v) for v in node.inputs]
            copy = append_like(new, node, inputs, name(f"{node.outputs[0].name}_phases"))
            copy.name = node.name if len(sources) == 1 else name(node.name or node.op_type)
            copy.outputs[0].type = last.type
            replacements[node.outputs[0]] = copy.outputs[0]
        results.append(new[-1].outputs[0])
    if joined is not None:
        append_like(new, joined, results, name(f"{last.name}_phases"))
        new[-1].outputs[0].type = last.type
    for node in layout:
        copy = append_like(new, node, [new[-1].outputs[0], *node.inputs[1:]], None)
        copy.outputs[0].type, copy.outputs[0].shape = last.type, node.outputs[0].shape
    if len(layout) > 1:
        new[-2].outputs[0].name = name(f"{last.name}_whole")
    exchange(graph, [*([] if joined is None else [joined]), *layout, *functions], new)
    return new[-len(layout)]


def _joined_layers(value: ir.Value, reader: ir.Node) -> ir.Node | None:
    """The Concat that makes the value of layers' outputs that nobody else reads."""
    node = value.producer()
    if node is None or node.op_type != "Concat" or sole_consumer(value) is not reader:
        return None
    layers = [v.producer() for v in node.inputs if v is not None and sole_consumer(v) is node]
    only = len(layers) == len(node.inputs) and all(n and n.op_type == "Conv" for n in layers)
    return node if only else None
