"""The expectation over softmaxed bins with the bins on the last axis, where they are fastest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.topology import is_expectation
from passes.graph import Namer, add_initializer, int_attribute, ints, rank, replace, sole_consumer
from passes.layers import Layer, layer_of


@dataclass(frozen=True)
class BinsLast(ir.passes.InPlacePass):
    """Write Softmax over channels and a 1×1 Conv to one channel (DFL) on the last axis. Exact.

    YOLOv8 and its successors softmax 16 bins on axis 1 and take their expectation by a Conv. A
    Softmax over any axis but the last is two transpositions more in most runtimes, and the Conv
    reads memory in leaps. Instead

        y = Transpose(ReduceSum(w · Softmax(Transpose(x, bins last), axis=-1)), channels first)

    where the last Transpose moves an axis of size 1 alone, and so no values.

    1. Softmax on axis 1 whose only reader is such a Conv of one group, without padding or stride.
       A Transpose before it that nobody else reads becomes the first one.
    2. Declined: anything else, such as bins that are on the last axis already.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every expectation that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            layer = _expectation_behind(node)
            if layer is not None:
                _rewrite(graph, node, layer, name)
                modified = True
        return ir.passes.PassResult(model, modified)


def _expectation_behind(softmax: ir.Node) -> Layer | None:
    """The Conv of case 1 behind a Softmax."""
    source = softmax.inputs[0] if softmax.op_type == "Softmax" and softmax.domain == "" else None
    dimensions = rank(source) if source is not None else None
    if dimensions is None or dimensions < 3:
        return None
    conv = sole_consumer(softmax.outputs[0])
    layer = layer_of(conv)
    if conv is None or layer is None or conv.op_type != "Conv" or not is_expectation(conv):
        return None
    moving = any(ints(conv, "pads", ())) or any(n != 1 for n in ints(conv, "strides", ()))
    auto = conv.attributes.get("auto_pad")
    plain = auto is None or auto.as_string() in ("NOTSET", "VALID")
    plain = plain and not moving and layer.groups == 1 and layer.weight[0, 0].size == 1
    on_channels = int_attribute(softmax, "axis", -1) % dimensions == 1
    return layer if on_channels and plain and layer.has_constant_bias else None


def _rewrite(graph: ir.Graph, softmax: ir.Node, layer: Layer, name: Namer) -> None:
    """Put the new nodes in the place of the Softmax and the Conv."""
    source, conv = softmax.inputs[0], layer.node
    assert source is not None  # it has a rank
    dimensions = rank(source) or 0
    last = [0, *range(2, dimensions), 1]
    before = source.producer()
    old = [softmax, conv]
    if before is not None and before.op_type == "Transpose" and sole_consumer(source) is softmax:
        perm = ints(before, "perm", range(dimensions - 1, -1, -1))
        last = [perm[axis] for axis in last]
        source = before.inputs[0]
        old.insert(0, before)
    assert source is not None
    new: list[ir.Node] = []

    def emit(
        kind: str, inputs: Sequence[ir.Value], attributes: Mapping[str, int | Sequence[int]]
    ) -> ir.Value:
        node = ir.node(kind, inputs, attributes, name=name(f"{conv.name}_{kind.lower()}"))
        node.outputs[0].name, node.outputs[0].type = node.name, conv.outputs[0].type
        new.append(node)
        return node.outputs[0]

    value = source
    if last != list(range(dimensions)):
        value = emit("Transpose", [source], {"perm": last})
    shares = emit("Softmax", [value], {"axis": -1})
    stem = layer.weight_value.name or "bins"
    bins = add_initializer(graph, name(f"{stem}_bins"), layer.weight.reshape(-1))
    axes = add_initializer(graph, name(f"{stem}_axes"), np.array([-1]))
    value = emit("ReduceSum", [emit("Mul", [shares, bins], {}), axes], {"keepdims": 1})
    if layer.bias is not None:
        number = add_initializer(graph, name(f"{stem}_bias"), layer.bias.reshape(1))
        value = emit("Add", [value, number], {})
    emit("Transpose", [value], {"perm": [0, dimensions - 1, *range(1, dimensions - 1)]})
    graph.insert_before(conv, new)
    replace(conv.outputs[0], new[-1].outputs[0])
    for node in reversed(old):
        graph.remove(node, safe=True)
