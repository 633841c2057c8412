"""A Split undoes a Concat: the branches of a detection head go their own ways again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import Namer, add_initializer, constant, int_attribute, rank, replace


@dataclass(frozen=True)
class SplitBranches(ir.passes.InPlacePass):
    """Move a Split before the Concats and Reshapes that its input went through. Exact.

    YOLO heads concatenate box and class branches, flatten, concatenate the strides and split boxes
    from classes again. On one grid the box logits would get the step of the class logits, which is
    many times too coarse. For a Split along an axis, its input is followed backwards through

    1. a Concat along another axis: each of its inputs is split,
    2. a Reshape that keeps the sizes up to the axis, which is not the first: its input is split,
    3. a Concat along the axis whose inputs add up to the parts: they are the parts.

    Declined when the way ends elsewhere, or when sizes are unknown. Nodes that nobody reads any
    more are left for dead-code removal.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every Split that qualifies."""
        graph = model.graph
        modified = False
        for node in list(graph):
            if node.op_type == "Split" and node.domain == "":
                modified = _rewrite(graph, node) or modified
        return ir.passes.PassResult(model, modified)


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    source = node.inputs[0]
    dimensions = rank(source) if source is not None else None
    sizes = [_size(output, int_attribute(node, "axis", 0)) for output in node.outputs]
    if source is None or dimensions is None or None in sizes:
        return False
    axis = int_attribute(node, "axis", 0) % dimensions
    known = [size for size in sizes if size is not None]
    if not _separable(source, axis, known):
        return False
    builder = _Builder(graph, node, Namer(graph))
    for output, part in zip(node.outputs, builder.parts(source, axis, known), strict=True):
        if output.is_graph_output() or part.producer() is None or part.is_graph_output():
            identity = builder.add("Identity", [part])
            replace(output, identity)
        else:
            ir.convenience.replace_all_uses_with(output, part)
    graph.remove(node, safe=True)
    return True


def _separable(value: ir.Value, axis: int, sizes: list[int]) -> bool:
    """Whether the parts can be found without splitting anything."""
    node = value.producer()
    if node is None or node.domain != "":
        return False
    if node.op_type == "Concat":
        inputs = [v for v in node.inputs if v is not None]
        if _axis(node, value) != axis:
            return all(_separable(v, axis, sizes) for v in inputs)
        return _groups(inputs, axis, sizes) is not None
    source = node.inputs[0] if node.inputs else None
    return (
        node.op_type == "Reshape"
        and source is not None
        and _keeps_leading_sizes(node, source, value, axis)
        and _separable(source, axis, sizes)
    )


@dataclass(frozen=True)
class _Builder:
    """Writes the new nodes before the Split."""

    graph: ir.Graph
    split: ir.Node
    name: Namer

    def parts(self, value: ir.Value, axis: int, sizes: list[int]) -> list[ir.Value]:
        """The parts of a value that ``_separable`` has accepted."""
        node = value.producer()
        assert node is not None
        inputs = [v for v in node.inputs if v is not None]
        if node.op_type == "Reshape":
            parts = self.parts(inputs[0], axis, sizes)
            return [self._reshaped(node, p, axis, s) for p, s in zip(parts, sizes, strict=True)]
        if _axis(node, value) != axis:
            split = [self.parts(v, axis, sizes) for v in inputs]
            joined = [list(branch) for branch in zip(*split, strict=True)]
            return [self._concatenated(branch, _axis(node, value)) for branch in joined]
        groups = _groups(inputs, axis, sizes)
        assert groups is not None
        return [self._concatenated(group, axis) for group in groups]

    def add(
        self, kind: str, inputs: list[ir.Value], attributes: dict[str, int] | None = None
    ) -> ir.Value:
        """Insert a node and return its output."""
        stem = inputs[0].name
        node = ir.node(kind, inputs, attributes, name=self.name(f"{stem}_{kind.lower()}"))
        node.outputs[0].name = self.name(f"{stem}_{kind.lower()}_output")
        node.outputs[0].type = inputs[0].type
        self.graph.insert_before(self.split, node)
        return node.outputs[0]

    def _concatenated(self, values: list[ir.Value], axis: int) -> ir.Value:
        return values[0] if len(values) == 1 else self.add("Concat", values, {"axis": axis})

    def _reshaped(self, node: ir.Node, value: ir.Value, axis: int, size: int) -> ir.Value:
        target = constant(node.inputs[1])
        assert target is not None
        shape = target.copy()
        if shape[axis] > 0:
            shape[axis] = size
        name = self.name(f"{value.name}_shape")
        return self.add("Reshape", [value, add_initializer(self.graph, name, shape)])


def _groups(inputs: list[ir.Value], axis: int, sizes: list[int]) -> list[list[ir.Value]] | None:
    """Distribute the inputs of a Concat over parts of the given sizes, in order."""
    groups: list[list[ir.Value]] = []
    waiting = list(inputs)
    for size in sizes:
        group: list[ir.Value] = []
        missing = size
        while missing > 0 and waiting:
            found = _size(waiting[0], axis)
            if found is None:
                return None
            group.append(waiting.pop(0))
            missing -= found
        if missing != 0 or not group:
            return None
        groups.append(group)
    return None if waiting else groups


def _keeps_leading_sizes(node: ir.Node, source: ir.Value, value: ir.Value, axis: int) -> bool:
    target = constant(node.inputs[1])
    if target is None or source.shape is None or value.shape is None:
        return False
    if int_attribute(node, "allowzero", 0) or min(len(source.shape), len(value.shape)) <= axis:
        return False
    # Where what stands from the axis on is the same, so is the product of what stands before it.
    before, after = source.shape.dims[1:], value.shape.dims[1:]
    same = (
        all(isinstance(d, int) for d in (*before, *after))
        and before[:axis] == after[:axis]
        and math.prod(map(_int, before[axis:])) == math.prod(map(_int, after[axis:]))
    )
    # A −1 on the axis itself would be worked out from the rest; that is only right for the whole.
    return axis > 0 and same and bool(target[axis] >= 0)


def _int(dimension: object) -> int:
    assert isinstance(dimension, int)
    return dimension


def _axis(node: ir.Node, value: ir.Value) -> int:
    dimensions = rank(value)
    axis = int_attribute(node, "axis", 0)
    return axis if dimensions is None else axis % dimensions


def _size(value: ir.Value | None, axis: int) -> int | None:
    if value is None or value.shape is None or not -len(value.shape) <= axis < len(value.shape):
        return None
    size = value.shape[axis]
    return size if isinstance(size, int) else None
