"""Whether a file is a graph at all: names, nesting and number of its nodes, and no cycle.

This is asked of every file that anybody gives, before a library works on it: what onnx, onnx_ir and
ONNX Runtime take for granted, and loop, recurse or die on where it does not hold. A file that is
sound may still be none that zqc can compile, see ``admission``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import onnx

from zqc.errors import DAMAGED, ModelError
from zqc.model_io.attributes import check_node
from zqc.model_io.loops import check_loop
from zqc.model_io.tensors import check_tensor

if TYPE_CHECKING:
    from google.protobuf.message import Message

MOST_NODES = 100_000
"""Ten times what a detector has whose exporter left all shapes to be computed."""

DEEPEST = 16
"""Subgraphs in subgraphs: an If in a Loop has two levels."""

_TENSORS = (onnx.AttributeProto.TENSOR, onnx.AttributeProto.TENSORS)


def check_sound(proto: onnx.ModelProto) -> None:
    """Refuse what is no graph: a name that is none, or read and not written, a cycle, no end.

    Args:
        proto: A model as it was parsed, external data loaded.

    Raises:
        ModelError: Names the first node, name or tensor that is wrong.
    """
    _check_texts(proto)
    opsets = {_plain(entry.domain): entry.version for entry in proto.opset_import}
    calls = {}
    for function in proto.functions:
        known = {_plain(entry.domain): entry.version for entry in function.opset_import}
        local = onnx.GraphProto(name=function.name, node=function.node)
        local.output.extend(onnx.ValueInfoProto(name=name) for name in function.output)
        _check_graph(local, set(function.input), {**opsets, **known}, 1)
        key = (function.domain, function.name)
        if key in calls:
            raise ModelError(f"the function {function.name!r} is defined twice; {DAMAGED}")
        calls[key] = {(node.domain, node.op_type) for node in _all_nodes(function.node)}
    _check_recursion(calls)
    _check_graph(proto.graph, set(), opsets, 1)
    total = sum(1 for _ in _all_nodes(proto.graph.node))
    if total > MOST_NODES:
        raise ModelError(
            f"the model has {total:,} nodes, but at most {MOST_NODES:,} can be worked on; "
            "simplify it first, for example with onnxsim"
        )


def said(node: onnx.NodeProto) -> str:
    """What messages call a node."""
    if node.name:
        return f"{node.op_type} {node.name!r}"
    writes = next((name for name in node.output if name), "")
    return f"the {node.op_type} that writes {writes!r}" if writes else f"a {node.op_type}"


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _check_texts(message: Message) -> None:
    """Refuse names that are no UTF-8: protobuf hands them out as bytes."""
    for field, value in message.ListFields():
        values = value if isinstance(value, Iterable) and not isinstance(value, str | bytes) else ()
        if field.type == field.TYPE_STRING:
            for text in values or (value,):
                if isinstance(text, bytes):
                    raise ModelError(f"the name {text!r} in it is no UTF-8 text; {DAMAGED}")
        elif field.type == field.TYPE_MESSAGE:
            for part in values or (value,):
                _check_texts(part)


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes with those of their subgraphs."""
    for node in nodes:
        yield node
        for graph in _subgraphs(node):
            yield from _all_nodes(graph.node)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _check_recursion(calls: dict[tuple[str, str], set[tuple[str, str]]]) -> None:
    """Refuse functions that call themselves, through others or not."""
    left = dict(calls)
    while done := [key for key, called in left.items() if not called & left.keys()]:
        for key in done:
            del left[key]
    if left:
        _, name = next(iter(left))
        raise ModelError(
            f"the function {name!r} of the model calls itself, through others or not, which ONNX "
            f"does not allow; {DAMAGED}"
        )


def _check_graph(
    graph: onnx.GraphProto, outer: set[str], opsets: dict[str, int], depth: int
) -> None:
    """Check a graph and what is nested in it; ``outer`` are the names that stand around it."""
    if depth > DEEPEST:
        raise ModelError(
            f"the model nests more than {DEEPEST} graphs in one another, in {graph.name!r}; "
            "export it with fewer levels of If and Loop"
        )
    tensors = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    for names in (graph.input, graph.output, tensors):
        _check_unique(names)
    for tensor in graph.initializer:
        check_tensor(tensor, f"the parameter {tensor.name!r}")
    written = {value.name for value in (*graph.input, *tensors)}
    known = outer | written | {name for node in graph.node for name in node.output}
    for node in graph.node:
        what = said(node)
        missing = next((name for name in node.input if name and name not in known), None)
        if missing is not None:
            raise ModelError(f"{what} reads {missing!r}, which nothing writes; {DAMAGED}")
        check_node(node, what, opsets.get(_plain(node.domain), 0))
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors) if attribute.type in _TENSORS else ():
                check_tensor(tensor, f"the {attribute.name} of {what}")
        for inner in _subgraphs(node):
            _check_graph(inner, known, opsets, depth + 1)
        check_loop(node, graph, what)
        for name in filter(None, node.output):
            if name in written:
                raise ModelError(
                    f"{what} writes {name!r}, which something else writes, too; {DAMAGED}"
                )
            written.add(name)
    for value in graph.output:
        if value.name not in known:
            raise ModelError(f"nothing writes the output {value.name!r}; {DAMAGED}")
    _check_no_cycle(graph)


def _check_unique(values: Iterable[onnx.ValueInfoProto | onnx.TensorProto]) -> None:
    found: set[str] = set()
    for value in values:
        if not value.name:
            raise ModelError(f"an input, output or parameter of it has no name; {DAMAGED}")
        if value.name in found:
            raise ModelError(f"the name {value.name!r} is given twice in one list; {DAMAGED}")
        found.add(value.name)


def _check_no_cycle(graph: onnx.GraphProto) -> None:
    """Refuse nodes that read what is made of their own results; their order does not matter."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needs = {
        index: {makers[name] for name in _read(node) if name in makers}
        for index, node in enumerate(graph.node)
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        what = said(graph.node[error.args[1][0]])
        raise ModelError(f"{what} reads what is made of its own result; {DAMAGED}") from error


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, those that its subgraphs read around them included."""
    yield from node.input
    for graph in _subgraphs(node):
        inside = {name for inner in graph.node for name in inner.output}
        inside |= {value.name for value in (*graph.input, *graph.initializer)}
        for inner in graph.node:
            yield from (name for name in _read(inner) if name not in inside)
        yield from (value.name for value in graph.output if value.name not in inside)
