"""Where a model ends, for all that runs it: what stands behind is left as it is.

Some outputs cannot be compared, and some cannot even be computed here. The graph is cut before them
when it is read: calibration, comparison and timing run the part before the cut, and the file that
is written holds the whole again. What is left, in this order:

1. An operator that ONNX Runtime lacks (a plugin of another runtime, such as TensorRT's NMS) and
   everything behind it.
2. An output that is no tensor of numbers (a sequence, a map, strings), with what makes it.
3. An output that is an input, or that no input reaches: a constant.
4. An operator that selects (NonMaxSuppression, TopK, …), where no layer stands behind it, with
   everything behind it: two models that agree well may list the same instances in another order,
   and each in a number of its own. What it selects from is compared instead.

Values that are read behind the cut become outputs of the part before it, with their names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import onnx
import onnx_ir as ir

from passes.analysis.topology import (
    is_weighted,
    nested_inputs,
    weighted_layers,
    with_all_behind,
)
from passes.graph import nested_nodes, remove_unused, subgraphs
from passes.operators import PICKING
from zqc.errors import MissingPackageError, ModelError


@dataclass(frozen=True)
class Ends:
    """What is left as it is.

    Attributes:
        outputs: Names of all outputs of the model, in order.
        reasons: By name of an output that is left, why.
        foreign: Operators that ONNX Runtime lacks, by type, each once.
        tail: The nodes behind the cut, as a graph from what they read to the outputs; None where
            there are none.
    """

    outputs: tuple[str, ...]
    reasons: dict[str, str] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()
    tail: ir.Model | None = None

    def warning(self) -> str:
        """What a user should know before any work; empty where there is nothing."""
        said: dict[str, list[str]] = {}
        for name, reason in self.reasons.items():
            said.setdefault(reason, []).append(name)
        outputs = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in said.items())
        text = f"left as it is, and not compared: {outputs}" if outputs else ""
        layers = [node.name or "" for node in self.layers()]
        counted = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
        if layers:
            text += f"; {counted} behind that stay float: {', '.join(layers[:3])}"
        return text

    def layers(self) -> list[ir.Node]:
        """The layers behind the cut, which are not quantized."""
        return [] if self.tail is None else weighted_layers(self.tail.graph)


def split(model: ir.Model) -> tuple[ir.Model, Ends]:
    """Cut a model before what is left as it is.

    Args:
        model: The whole model; it is not changed.

    Returns:
        What runs, and what does not. A model without such ends is returned as it is.

    Raises:
        ModelError: Nothing is left to run.
    """
    graph = model.graph
    names = tuple(value.name or "" for value in graph.outputs)
    foreign = {node: kind for node in graph if (kind := _foreign(node))}
    why = _not_run(graph, foreign)
    left = _left(graph, why)
    if not left:
        return model, Ends(names)
    inputs = {value.name for value in graph.inputs}
    tail = _tail(model, set(why), [name for name in names if name in left and name not in inputs])
    boundary = [v.name or "" for v in tail.graph.inputs] if tail is not None else []
    wanted = [n for n in (*names, *boundary) if n not in left and n not in inputs]
    if not wanted:
        raise ModelError(
            "there is nothing to compile: "
            + "; ".join(f"the output {name!r} is {reason}" for name, reason in left.items())
        )
    return _until(model, list(dict.fromkeys(wanted))), Ends(
        names, left, tuple(dict.fromkeys(foreign.values())), tail
    )


def joined(model: ir.Model, ends: Ends) -> ir.Model:
    """Return the whole: a copy of what runs, with what was left as it is behind it again.

    Args:
        model: What became of the part before the cut; its inputs and outputs have their names. It
            is not changed.
        ends: What ``split`` left, its tail at the operator set of the model.
    """
    whole = model.clone()
    graph = whole.graph
    if ends.tail is not None:
        rest = ends.tail.clone()
        _tell_apart(graph, rest.graph)
        known = {value.name: value for value in (*graph.inputs, *graph.outputs)}
        for value in list(rest.graph.inputs):
            ir.convenience.replace_all_uses_with(value, known[value.name])
        outputs = list(rest.graph.outputs)
        rest.graph.outputs.clear()
        for name in list(rest.graph.initializers):
            graph.register_initializer(rest.graph.initializers.pop(name))
        nodes = list(rest.graph)
        rest.graph.remove(nodes)
        graph.extend(nodes)
        graph.outputs.extend(outputs)
        whole.opset_imports.update(
            {d: v for d, v in rest.opset_imports.items() if d not in whole.opset_imports}
        )
    values = {value.name: value for value in (*graph.inputs, *graph.outputs)}
    graph.outputs.clear()
    graph.outputs.extend(values[name] for name in ends.outputs)
    return whole


def _not_run(graph: ir.Graph, foreign: Mapping[ir.Node, str]) -> dict[ir.Node, str]:
    """The nodes of cases 1 and 4, with why."""
    why = {node: f"made by {kind}, which ONNX Runtime lacks" for node, kind in foreign.items()}
    for node in with_all_behind(graph, list(foreign)):
        if node not in why:
            producers = (value.producer() for value in nested_inputs(node))
            why[node] = next(why[p] for p in producers if p in why)
    reached = _reached(graph)
    for node in graph:
        if node.domain == "" and node.op_type in PICKING:
            behind = with_all_behind(graph, [node])
            if not any(_holds_layer(each, reached) for each in behind):
                for each in behind:
                    why.setdefault(each, f"selected by {node.op_type} {node.name}")
    return why


def _left(graph: ir.Graph, why: dict[ir.Node, str]) -> dict[str, str]:
    """The outputs that are left, by name, with why; the nodes that make them join ``why``."""
    reached = _reached(graph)
    left: dict[str, str] = {}
    for value in graph.outputs:
        name, producer = value.name or "", value.producer()
        if value.is_graph_input():
            left[name] = "an input"
        elif producer is None or producer not in reached:
            left[name] = "a constant"
            why.update(dict.fromkeys(_before(producer), left[name]))
        elif producer in why:
            left[name] = why[producer]
        elif kind := _no_numbers(value):
            left[name] = kind
            why.update(dict.fromkeys(_before(producer, otherwise=True), kind))
    return left


def _foreign(node: ir.Node) -> str:
    """The type of the operator that ONNX Runtime lacks, in the node or its subgraphs, if any."""
    for each in (node, *nested_nodes(node)):
        if not _knows(each.domain, each.op_type):
            return f"{each.domain}.{each.op_type}" if each.domain else each.op_type
    return ""


def _knows(domain: str, op_type: str) -> bool:
    """Whether ONNX Runtime has an operator."""
    if domain in ("", "ai.onnx", "ai.onnx.ml"):
        return bool(onnx.defs.has(op_type, domain.removesuffix("ai.onnx")))
    if domain != "com.microsoft":  # others come from libraries that nobody has registered here
        return False
    try:
        from zqc.runtime import session
    except MissingPackageError:  # nothing will be run
        return True
    known = session.operators()
    return not known or (domain, op_type) in known


def _holds_layer(node: ir.Node, reached: Collection[ir.Node]) -> bool:
    """Whether a node, or one inside of it, is a layer with constant weights.

    A weight may be computed from constants: transposed, or dequantized.
    """

    def is_constant(value: ir.Value) -> bool:
        producer = value.producer()
        return producer is not None and producer.graph is node.graph and producer not in reached

    return any(
        is_weighted(each)
        and any(
            v is not None and (v.const_value is not None or is_constant(v)) for v in each.inputs
        )
        for each in (node, *nested_nodes(node))
    )


def _before(node: ir.Node | None, *, otherwise: bool = False) -> list[ir.Node]:
    """A node and all that it depends on; ``otherwise`` only by what is no tensor of numbers."""
    found: dict[ir.Node, None] = {}
    waiting = [node]
    while waiting:
        if (each := waiting.pop()) is not None and each not in found:
            found[each] = None
            read = nested_inputs(each)
            waiting += [v.producer() for v in read if not otherwise or _no_numbers(v)]
    return list(found)


def _no_numbers(value: ir.Value) -> str:
    """What a value is that is no tensor of numbers; empty for those and where it is unknown."""
    if value.type is None or isinstance(value.type, ir.TensorType):
        return "strings" if value.dtype is ir.DataType.STRING else ""
    if isinstance(value.type, ir.SequenceType):
        return "a sequence"
    return "optional" if isinstance(value.type, ir.OptionalType) else "no tensor"


def _until(model: ir.Model, names: list[str]) -> ir.Model:
    """A copy of a model that computes some of its values and nothing else."""
    part = model.clone()
    values = {value.name: value for node in part.graph for value in node.outputs}
    part.graph.outputs.clear()
    part.graph.outputs.extend(values[name] for name in names)
    remove_unused(part)
    return part


def _tail(model: ir.Model, nodes: set[ir.Node], names: list[str]) -> ir.Model | None:
    """A copy of some nodes, with inputs in the place of what they read of others."""
    if not names:
        return None
    read = dict.fromkeys(v for n in model.graph if n in nodes for v in nested_inputs(n))
    # What no input reaches, such as a Constant, is computed behind the cut as well.
    reached = _reached(model.graph) - nodes
    outer = [v for v in read if v.producer() in reached or v in model.graph.inputs]
    rest = model.clone()
    values = {v.name: v for n in rest.graph for v in n.outputs}
    values |= {v.name: v for v in (*rest.graph.inputs, *rest.graph.initializers.values())}
    rest.graph.outputs.clear()
    rest.graph.outputs.extend(values[name] for name in names)
    rest.graph.inputs.clear()
    for value in outer:
        given = ir.Value(name=value.name, type=value.type, shape=value.shape)
        ir.convenience.replace_all_uses_with(values[value.name], given)
        values[value.name].name = None
        rest.graph.inputs.append(given)
    remove_unused(rest)
    return rest


def _reached(graph: ir.Graph) -> set[ir.Node]:
    """The nodes that compute anything from the inputs."""
    inputs = set(graph.inputs)
    found: set[ir.Node] = set()
    for node in graph:
        if any(v in inputs or v.producer() in found for v in nested_inputs(node)):
            found.add(node)
    return found


def _tell_apart(graph: ir.Graph, rest: ir.Graph) -> None:
    """Give names of their own to all that is in either; inputs and outputs keep theirs.

    What reads across the cut has one name on both sides and must keep it.
    """
    fixed = {value.name for value in (*graph.inputs, *graph.outputs)}
    final = {value.name for value in rest.outputs}
    taken = {v.name for v in _values(graph)} | {node.name for node in graph.all_nodes()}
    taken |= {value.name for value in _values(rest)} | fixed | final

    def renamed(name: str | None) -> str:
        count = 2
        while f"{name}_{count}" in taken:
            count += 1
        taken.add(f"{name}_{count}")
        return f"{name}_{count}"

    for value in _values(graph):
        if value.name in final - fixed:
            value.name = renamed(value.name)
    theirs = {value.name for value in _values(graph)} | fixed
    for value in _values(rest):
        if value.name in theirs and value.name not in final and not value.is_graph_input():
            value.name = renamed(value.name)
    nodes = {node.name for node in graph.all_nodes()}
    for node in rest.all_nodes():
        if node.name in nodes:
            node.name = renamed(node.name)


def _values(graph: ir.Graph) -> list[ir.Value]:
    """All values that are computed or constant in a graph and in its subgraphs."""
    found = list(graph.initializers.values())
    for node in ir.traversal.RecursiveGraphIterator(graph):
        found += [value for value in node.outputs if value.name]
        for body in subgraphs(node):
            found += [*body.inputs, *body.initializers.values()]
    return found
