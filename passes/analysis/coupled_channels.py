"""Which channels of which tensors must be scaled together: an analysis, no edit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.channel_flow import Ids, flow
from passes.graph import channels, int_attribute
from passes.layers import Layer, by_weight, scalable_layer


@dataclass(frozen=True)
class CoupledChannels:
    """Channels that carry the same factor, whatever it is.

    Attributes:
        ids: Number of each channel, shape (C,), by tensor: channels with the same number must be
            scaled by the same factor. Not for tensors without channels.
        reasons: Why the channels of a number must keep their scale.
        layers: The layers that begin or end a coupling, in graph order.
    """

    ids: dict[ir.Value, Ids]
    reasons: dict[int, str]
    layers: dict[ir.Node, Layer]


def coupled_channels(graph: ir.Graph, breaks: Collection[ir.Node] = ()) -> CoupledChannels:
    """Follow the factor of every channel from the layers that make it to those that can undo it.

    1. A Conv (any groups), ConvTranspose or Gemm with constant weights takes any positive factor of
       its input channels and gives its output channels any other.
    2. Operators that are positively homogeneous per channel, f(s·x) = s·f(x) for s > 0, hand the
       factor on, see ``channel_flow``.
    3. Add, Sub and Sum of tensors: the terms and the result share one factor. So does the product
       with a tensor that keeps its own scale. So do channels that DepthToSpace makes one of.
    4. Everything else, such as Sigmoid or the addition of a constant, keeps a tensor at its scale,
       and so does being an input or output of the graph or being read inside a subgraph.
    5. Layers that read one weight share the factors of their inputs, and those of their outputs:
       there is one weight still when they are in it.
    6. A node of ``breaks`` is a product with a constant that will make up for the factors of its
       output whatever those of its input are.
    """
    coupled = _Coupling()
    ids: dict[ir.Value, Ids] = {}
    layers: dict[ir.Node, Layer] = {}
    for value in graph.inputs:
        count = channels(value)
        if count is not None:
            ids[value] = coupled.held(count, f"{value.name!r} is an input of the graph")
    for node in graph:
        layer = scalable_layer(node)
        if layer is not None:
            layers[node] = layer
            ids[node.outputs[0]] = coupled.fresh(layer.outputs)
        elif node in breaks:
            count = channels(node.outputs[0])
            assert count is not None  # who inserts a product knows
            ids[node.outputs[0]] = coupled.fresh(count)
        else:
            _follow(node, ids, coupled)
        for value in node.outputs:
            if value in ids:
                _hold_at_borders(graph, value, ids[value], coupled)
    _couple_readers(graph, ids, layers, coupled)
    roots = {value: coupled.roots(numbers) for value, numbers in ids.items()}
    return CoupledChannels(roots, coupled.reasons, layers)


class _Coupling:
    """A union of sets of channel numbers, some of which must keep their scale."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self.reasons: dict[int, str] = {}

    def fresh(self, count: int) -> Ids:
        first = len(self._parent)
        self._parent += range(first, first + count)
        return np.arange(first, first + count)

    def held(self, count: int, reason: str) -> Ids:
        number = self.fresh(1)
        self.reasons[int(number[0])] = reason
        return number.repeat(count)

    def root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def roots(self, numbers: Ids) -> Ids:
        return np.array([self.root(int(number)) for number in numbers], np.int64)

    def couple(self, left: Ids, right: Ids) -> None:
        for a, b in zip(left, right, strict=True):
            kept, gone = self.root(int(a)), self.root(int(b))
            if kept != gone:
                self._parent[gone] = kept
                reason = self.reasons.pop(gone, None)
                if reason is not None:
                    self.reasons.setdefault(kept, reason)

    def hold(self, numbers: Ids, reason: str) -> None:
        for number in numbers:
            self.reasons.setdefault(self.root(int(number)), reason)

    def is_held(self, numbers: Ids) -> bool:
        return all(self.root(int(number)) in self.reasons for number in numbers)


def _follow(node: ir.Node, ids: dict[ir.Value, Ids], coupled: _Coupling) -> None:
    """Number the output channels of an operator that is no layer, and hold what it cannot carry."""
    inputs = [None if value is None else ids.get(value) for value in node.inputs]
    known = node.domain == ""
    moved = flow(node, inputs) if known else None
    if moved is not None:
        ids.update(zip(node.outputs, moved, strict=False))
        return
    shared = _shared(node, inputs, coupled) if known else None
    if shared is not None:
        ids[node.outputs[0]] = shared
        return
    text = f"{node.op_type} {node.name!r}"
    for numbers in inputs:
        if numbers is not None:
            coupled.hold(numbers, f"{text} does not keep a factor")
    for value in node.outputs:
        count = channels(value)
        if count is not None:
            ids[value] = coupled.held(count, f"it comes from {text}")


def _shared(node: ir.Node, inputs: Sequence[Ids | None], coupled: _Coupling) -> Ids | None:
    """Sums and products of tensors of the same number of channels, on the same axis; shuffles."""
    if node.op_type == "DepthToSpace":
        return _shuffled(node, inputs[0], coupled)
    terms = [numbers for numbers in inputs if numbers is not None]
    alike = len({len(numbers) for numbers in terms}) == 1
    ranks = {None if v is None or v.shape is None else len(v.shape) for v in node.inputs}
    if len(terms) != len(inputs) or not alike or len(ranks) != 1 or None in ranks:
        return None
    if node.op_type in ("Add", "Sub", "Sum"):
        for other in terms[1:]:
            coupled.couple(terms[0], other)
        return terms[0]
    if node.op_type == "Mul":
        for one, other in (terms, terms[::-1]):
            if coupled.is_held(other):
                return one
    return None


def _shuffled(node: ir.Node, source: Ids | None, coupled: _Coupling) -> Ids | None:
    """The channels of DepthToSpace: each is made of s² that carry one factor then."""
    phases = int_attribute(node, "blocksize", 1) ** 2
    if source is None or len(source) % phases:
        return None
    mode = node.attributes.get("mode")
    by_phase = mode is None or mode.as_string() == "DCR"
    parts = source.reshape(phases, -1) if by_phase else source.reshape(-1, phases).T
    for part in parts[1:]:
        coupled.couple(parts[0], part)
    return np.asarray(parts[0])


def _couple_readers(
    graph: ir.Graph, ids: dict[ir.Value, Ids], layers: Collection[ir.Node], coupled: _Coupling
) -> None:
    """Give the readers of one weight the same factors, none where one of them cannot have any."""
    for group in by_weight(graph):
        if len(group) == 1:
            continue
        nodes = [layer.node for layer in group]
        for values in ([n.inputs[0] for n in nodes], [n.outputs[0] for n in nodes]):
            known = [ids[v] for v in values if v is not None and v in ids]
            for other in known[1:]:
                coupled.couple(known[0], other)
            if known and (len(known) < len(values) or any(n not in layers for n in nodes)):
                coupled.hold(
                    known[0], f"a reader of {group[0].weight_value.name!r} takes no factor"
                )


def _hold_at_borders(graph: ir.Graph, value: ir.Value, numbers: Ids, coupled: _Coupling) -> None:
    if value.is_graph_output():
        coupled.hold(numbers, f"{value.name!r} is an output of the graph")
    if any(use.node.graph is not graph for use in value.uses()):
        coupled.hold(numbers, f"{value.name!r} is read inside a subgraph")
