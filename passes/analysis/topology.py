"""What in a graph is a layer, and where its post-processing begins: by topology, never by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from passes.graph import constant, nested_nodes, producer_of
from passes.layers import output_axis
from passes.operators import LAYOUT, PAIR, WEIGHTED
from passes.qdq import dequantized_constant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def is_weighted(node: ir.Node) -> bool:
    """Whether the node multiplies by a matrix: Conv, ConvTranspose, Gemm or MatMul."""
    return node.domain == "" and node.op_type in WEIGHTED


def weighted_layers(graph: ir.Graph) -> list[ir.Node]:
    """The weighted nodes before the post-processing, in graph order."""
    tail = post_processing(graph)
    return [node for node in graph if is_weighted(node) and node not in tail]


def inner_layers(graph: ir.Graph) -> list[tuple[ir.Node, ir.Node]]:
    """The weighted nodes with constant weights inside of other nodes (If, Loop), and those."""
    return [
        (inner, node)
        for node in graph
        for inner in nested_nodes(node)
        if is_weighted(inner) and any(v is not None and v.const_value for v in inner.inputs)
    ]


def post_processing(graph: ir.Graph) -> set[ir.Node]:
    """The nodes from which no weighted node can be reached and that are none themselves.

    They decode boxes, score and sort: one scale over boxes in pixels and scores in [0, 1] is what
    kills quantized detectors, so they stay in float. The expectation over softmaxed bins that
    YOLOv8 writes as a Conv (DFL) is a part of it: nothing in it was trained, an error of the scores
    of bins moves boxes, and a few products per box take no time.
    """
    reaching = _reaching(graph, lambda node: is_weighted(node) and not is_expectation(node))
    return {node for node in graph if node not in reaching}


def first_layers(graph: ir.Graph) -> list[ir.Node]:
    """The weighted nodes that no other weighted node comes before."""
    after: set[ir.Node] = set()
    for node in graph:
        if any(producer in after or is_weighted(producer) for producer in _producers(node)):
            after.add(node)
    return [node for node in weighted_layers(graph) if node not in after]


def last_layers(graph: ir.Graph) -> list[ir.Node]:
    """The weighted nodes that no other weighted node comes after, expectations not counted."""
    trained = {node for node in weighted_layers(graph) if not is_expectation(node)}
    before: set[ir.Node] = set()
    for node in reversed(graph):
        if node in before or node in trained:
            before.update(_producers(node))
    return [node for node in weighted_layers(graph) if node not in before]


def first_last_layers(graph: ir.Graph) -> set[ir.Node]:
    """The layers that keep more bits than the others: the first, the last, and expectations.

    So do those that read the weight of one of them: it is stored once.
    """
    layers = weighted_layers(graph)
    expectations = (node for node in layers if is_expectation(node))
    found = {*first_layers(graph), *last_layers(graph), *expectations}
    weights = {node.inputs[1] for node in found}
    return {node for node in layers if node in found or node.inputs[1] in weights}


def after_last_layers(graph: ir.Graph) -> set[ir.Node]:
    """The last layers and every node after them."""
    found: set[ir.Node] = set(last_layers(graph))
    for node in graph:
        if any(p in found for p in _producers(node)):
            found.add(node)
    return found


def is_expectation(node: ir.Node) -> bool:
    """Whether the node is a weighted sum, with one constant row, of a Softmax's outputs."""
    if not is_weighted(node) or node.op_type == "ConvTranspose":
        return False
    source = producer_of(node.inputs[0])
    while source is not None and source.op_type in LAYOUT | PAIR:
        source = producer_of(source.inputs[0])
    if source is None or source.op_type != "Softmax":
        return False
    weight = dequantized_constant(node.inputs[1])
    if weight is None:
        return False
    return weight.ndim < 2 or weight.shape[output_axis(node, weight.ndim)] == 1


def expectations(graph: ir.Graph) -> list[ir.Node]:
    """All weighted sums of softmaxed bins, those that ``BinsLast`` has written too."""
    return [node for node in graph if is_expectation(node) or _sums_weighted_shares(node)]


def _sums_weighted_shares(node: ir.Node) -> bool:
    product = producer_of(node.inputs[0]) if node.op_type == "ReduceSum" else None
    if product is None or product.op_type != "Mul" or constant(product.inputs[1]) is None:
        return False
    shares = producer_of(product.inputs[0])
    return shares is not None and shares.op_type == "Softmax"


def nested_inputs(node: ir.Node) -> list[ir.Value]:
    """Everything the node reads, inside its subgraphs too."""
    return [v for each in (node, *nested_nodes(node)) for v in each.inputs if v is not None]


def with_all_behind(graph: ir.Graph, first: Iterable[ir.Node]) -> list[ir.Node]:
    """Some nodes of a graph and all that depend on them, in graph order."""
    found, order = set(first), []
    for node in graph:
        if node in found or any(v.producer() in found for v in nested_inputs(node)):
            found.add(node)
            order.append(node)
    return order


def _producers(node: ir.Node) -> list[ir.Node]:
    return [p for p in (value.producer() for value in nested_inputs(node)) if p is not None]


def _reaching(graph: ir.Graph, wanted: Callable[[ir.Node], bool]) -> set[ir.Node]:
    """The nodes that satisfy ``wanted`` or from which such a node can be reached."""
    reaching: set[ir.Node] = set()
    for node in reversed(graph):
        if wanted(node):
            reaching.add(node)
        if node in reaching:
            reaching.update(_producers(node))
    return reaching
