"""Small questions and edits that every pass needs on an onnx_ir graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes.operators import SEQUENCES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """Return the array of an initializer, or None for anything else."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    array: NDArray[Any] = value.const_value.numpy()
    return array


def scalar(value: ir.Value | None) -> float | None:
    """Return the number of a one-element initializer, or None for anything else."""
    array = constant(value)
    return float(array.reshape(())) if array is not None and array.size == 1 else None


def is_float(value: ir.Value) -> bool:
    """Whether the value is a float32 tensor, not a sequence of them.

    Shape inference of ``onnx_ir`` takes sequences for tensors, so their makers are asked, too.
    """
    if value.dtype != ir.DataType.FLOAT or not isinstance(value.type, ir.TensorType):
        return False
    node = value.producer()
    return node is None or node.op_type not in SEQUENCES


def name_of(value: ir.Value | None) -> str:
    """Return the name of a value, empty where there is none."""
    return "" if value is None or value.name is None else value.name


def rank(value: ir.Value) -> int | None:
    """Return the number of dimensions, or None when the shape is unknown."""
    return None if value.shape is None else len(value.shape)


def channels(value: ir.Value) -> int | None:
    """Return the static size of axis 1, or None."""
    if value.shape is None or len(value.shape) < 2 or not isinstance(value.shape[1], int):
        return None
    return value.shape[1]


def spatial_ones(value: ir.Value) -> tuple[int, ...]:
    """Return a 1 for every axis behind the channels, two where the rank is unknown.

    Constants per channel end with them, to be broadcast over a tensor.
    """
    return (1,) * (len(value.shape) - 2 if value.shape is not None else 2)


def producer_of(value: ir.Value | None) -> ir.Node | None:
    """Return the node that a value comes from; None for an input, a constant or no value."""
    return value.producer() if value is not None else None


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """Return the only node that reads the value; None if several do or it is a graph output."""
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def ints(node: ir.Node, name: str, default: Sequence[int]) -> tuple[int, ...]:
    """Return an attribute that is a list of integers."""
    attribute = node.attributes.get(name)
    return tuple(attribute.as_ints()) if attribute is not None else tuple(default)


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """Return an attribute that is an integer."""
    attribute = node.attributes.get(name)
    return attribute.as_int() if attribute is not None else default


def float_attribute(node: ir.Node, name: str, default: float) -> float:
    """Return an attribute that is a float."""
    attribute = node.attributes.get(name)
    return attribute.as_float() if attribute is not None else default


class Namer:
    """Gives new values and nodes names after what they replace, unique in one graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self._taken = {value.name for value in graph.inputs} | set(graph.initializers)
        for node in graph.all_nodes():
            self._taken.add(node.name)
            self._taken.update(output.name for output in node.outputs)

    def __call__(self, base: str) -> str:
        """Return ``base``, or ``base_2``, ``base_3``, … when that is taken."""
        name, count = base, 1
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name


def named_node(
    name: Namer, stem: str, kind: str, *inputs: ir.Value, outputs: int = 1, **given: int
) -> ir.Node:
    """A node that is not yet in a graph, named after a stem and its operator; so are its outputs.

    Args:
        name: Names it.
        stem: What its name begins with.
        kind: Its operator, of the default domain.
        *inputs: What it reads.
        outputs: How many it has.
        **given: Its attributes.
    """
    node = ir.node(kind, inputs, attributes=given, num_outputs=outputs)
    node.name = name(f"{stem}_{kind.lower()}")
    for output in node.outputs:
        output.name = name(node.name)
    return node


def add_initializer(
    graph: ir.Graph, name: str, data: NDArray[np.generic] | ir.TensorProtocol
) -> ir.Value:
    """Register a constant under a name that must be free and return its value."""
    tensor = ir.tensor(data, name=name) if isinstance(data, np.ndarray) else data
    value = ir.Value(
        name=name,
        shape=ir.Shape(tensor.shape.numpy()),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def replace(old: ir.Value, new: ir.Value) -> None:
    """Let ``new`` take over every use, the name and the place among the outputs of ``old``."""
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    if new.type is None:
        new.type = old.type
    if new.shape is None:
        new.shape = old.shape
    name, old.name = old.name, None
    new.name = name


def values_by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    """Return the inputs of a graph and what its nodes put out."""
    values = {v.name or "": v for v in graph.inputs}
    return values | {v.name or "": v for node in graph for v in node.outputs}


def with_outputs(model: ir.Model, tensors: Sequence[str]) -> ir.Model:
    """Return a copy of the model whose outputs are the named tensors."""
    copy = model.clone()
    values = {output.name: output for node in copy.graph for output in node.outputs}
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(values[name] for name in tensors)
    return copy


def remove_unused(model: ir.Model) -> None:
    """Remove the nodes and initializers that no output depends on, in place.

    Also those that only a subgraph of a removed node reads: onnx_ir's own pass takes what such a
    subgraph read for used.
    """
    graph = model.graph
    needed: set[ir.Node] = set()
    waiting = [value.producer() for value in graph.outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in needed:
            continue
        needed.add(node)
        for inner in (node, *nested_nodes(node)):
            waiting += [value.producer() for value in inner.inputs if value is not None]
    for node in graph:
        if node not in needed:
            for inner in nested_nodes(node):
                for index in range(len(inner.inputs)):
                    inner.replace_input_with(index, None)
    RemoveUnusedNodesPass()(model)


def subgraphs(node: ir.Node) -> list[ir.Graph]:
    """The bodies of an If, a Loop or a Scan."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found += attribute.as_graphs()
    return found


def nested_nodes(node: ir.Node) -> list[ir.Node]:
    """The nodes of all subgraphs of a node."""
    return [each for body in subgraphs(node) for each in ir.traversal.RecursiveGraphIterator(body)]


def is_silu(node: ir.Node) -> bool:
    """Whether the node is the Mul of x·Sigmoid(x)."""
    if node.op_type != "Mul" or len(node.inputs) != 2:
        return False
    for x, gate in (node.inputs, node.inputs[::-1]):
        sigmoid = producer_of(gate)
        if sigmoid is not None and sigmoid.op_type == "Sigmoid" and sigmoid.inputs[0] is x:
            return True
    return False


def known_sizes(value: ir.Value | None) -> tuple[int, ...]:
    """Return channels, height and width of a tensor, or nothing where one of them is open."""
    if value is None or value.shape is None or len(value.shape) != 4:
        return ()
    sizes = tuple(size for size in list(value.shape)[1:] if isinstance(size, int))
    return sizes if len(sizes) == 3 else ()
