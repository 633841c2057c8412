"""Layers on the phases of a DepthToSpace, before it instead of behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import (
    Namer,
    add_initializer,
    int_attribute,
    ints,
    name_of,
    producer_of,
    replace,
    sole_consumer,
)
from passes.layers import layer_of


def behind_conv(
    graph: ir.Graph, shuffle: ir.Node, conv: ir.Node, largest: int, name: Namer
) -> ir.Node | None:
    """Let a 1×1 Conv behind a DepthToSpace work on all phases at once.

    Returns:
        The DepthToSpace behind it; None where the layer pads, moves, has groups or computed
        weights, or where its matrix would have more than ``largest`` elements.
    """
    layer = layer_of(conv)
    size = int_attribute(shuffle, "blocksize", 1)
    phases = size**2
    if layer is None or not layer.has_constant_bias or layer.weight.ndim != 4:
        return None
    weight, bias = layer.weight, layer.bias
    if weight.shape[2:] != (1, 1) or phases**2 * weight.size > largest:
        return None
    moving = any(ints(conv, "pads", ())) or any(n != 1 for n in ints(conv, "strides", ()))
    if moving or layer.groups != 1:
        return None
    matrix = weight[:, :, 0, 0]
    each = np.eye(phases, dtype=matrix.dtype)
    # Rows by phase, then channel; columns in the order that the DepthToSpace reads.
    order = "fohi" if _by_phase(shuffle) else "foih"
    spread = np.einsum(f"fh,oi->{order}", each, matrix).reshape(phases * len(matrix), -1, 1, 1)
    stem = name_of(conv.inputs[1])
    inputs = [shuffle.inputs[0], add_initializer(graph, name(stem), spread)]
    if bias is not None:
        repeated = np.tile(bias, phases)
        inputs.append(add_initializer(graph, name(name_of(layer.bias_value)), repeated))
    new: list[ir.Node] = []
    append_like(new, conv, inputs, name(f"{conv.outputs[0].name}_phases"))
    new[0].outputs[0].type = conv.outputs[0].type
    append_like(new, shuffle, new[0].outputs, None)
    new[1].attributes["mode"] = ir.AttrString("mode", "DCR")
    exchange(graph, [shuffle, conv], new)
    return new[1]


def merged(graph: ir.Graph, first: ir.Node, second: ir.Node, name: Namer) -> ir.Node | None:
    """Let one DepthToSpace do the work of two, behind a Conv with its outputs in another order.

    Returns:
        It; None where no Conv of one group and constant weights stands before them.
    """
    source = first.inputs[0]
    conv = producer_of(source)
    layer = layer_of(conv)
    if conv is None or layer is None or source is None or conv.op_type != "Conv":
        return None
    if layer.groups != 1 or sole_consumer(source) is not first or not layer.has_constant_bias:
        return None
    weight, bias = layer.weight, layer.bias
    a, b = (int_attribute(node, "blocksize", 1) for node in (first, second))
    order = _joint_order(len(weight), (a, _by_phase(first)), (b, _by_phase(second)))
    stem = name_of(conv.inputs[1])
    inputs = [conv.inputs[0], add_initializer(graph, name(stem), weight[order])]
    if bias is not None:
        inputs.append(add_initializer(graph, name(name_of(layer.bias_value)), bias[order]))
    new: list[ir.Node] = []
    append_like(new, conv, inputs, name(name_of(source)))
    new[0].outputs[0].type = source.type
    append_like(new, second, new[0].outputs, None)
    new[1].attributes["blocksize"] = ir.AttrInt64("blocksize", a * b)
    new[1].attributes["mode"] = ir.AttrString("mode", "DCR")
    exchange(graph, [conv, first, second], new)
    return new[1]


def _joint_order(
    count: int, first: tuple[int, bool], second: tuple[int, bool]
) -> NDArray[np.int64]:
    """Where in the channels of two DepthToSpace those of a joint one (DCR) stand.

    A pixel of the result is phase f of the first and g of the second, f·b + g of both.
    """
    (a, outer), (b, inner) = first, second
    # Axes: f_y, f_x, g_y, g_x and the channel, in the order that the two DepthToSpace read.
    depth = count // (a * b) ** 2
    behind = "ghc" if inner else "cgh"
    axes = f"ef{behind}" if outer else f"{behind}ef"
    sizes = {"e": a, "f": a, "g": b, "h": b, "c": depth}
    places = np.arange(count).reshape([sizes[axis] for axis in axes])
    return places.transpose([axes.index(axis) for axis in "egfhc"]).reshape(-1)


def _by_phase(shuffle: ir.Node) -> bool:
    """Whether channels are ordered by phase first (DCR)."""
    mode = shuffle.attributes.get("mode")
    return mode is None or mode.as_string() == "DCR"


def append_like(
    new: list[ir.Node], like: ir.Node, inputs: Sequence[ir.Value | None], output: str | None
) -> ir.Node:
    """Append a node that does the same to other inputs."""
    node = ir.node(like.op_type, inputs, name=like.name)
    for key, attribute in like.attributes.items():
        node.attributes[key] = attribute
    node.outputs[0].name = output
    new.append(node)
    return node


def exchange(graph: ir.Graph, old: list[ir.Node], new: list[ir.Node]) -> None:
    """Put new nodes in the place of old ones, whose last output keeps its name and readers."""
    graph.insert_before(old[-1], new)
    replace(old[-1].outputs[0], new[-1].outputs[0])
    for node in reversed(old):
        graph.remove(node, safe=True)
