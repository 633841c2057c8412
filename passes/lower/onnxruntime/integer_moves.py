"""Chains of operators that move integers about with the channels last."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, producer_of, scalar, sole_consumer


class IntegerMoves:
    """Builds a chain behind a tensor (N, C, H, W) of integers, which begins with channels last.

    ONNX Runtime keeps what its integer layers read and write with the channels last, between
    transpositions of its own. Those at both ends of the chain cancel against them, so that only
    what stands between them is done.

    Attributes:
        value: What the chain gives so far.
        nodes: Its nodes, to be inserted into the graph.
    """

    def __init__(self, graph: ir.Graph, value: ir.Value, stem: str, name: Namer) -> None:
        self._graph, self._stem, self._name = graph, stem, name
        self.value, self.nodes = value, list[ir.Node]()
        self._transpose(0, 2, 3, 1)

    def reshape(self, *sizes: int) -> IntegerMoves:
        """Read the same integers in the same order with these sizes; -1 is what is left."""
        shape = add_initializer(
            self._graph, self._name(f"{self._stem}_shape"), np.array(sizes, np.int64)
        )
        return self._add("Reshape", [self.value, shape])

    def swap(self, rank: int, first: int) -> IntegerMoves:
        """Exchange the axes ``first`` and ``first`` + 1 of a tensor of ``rank`` axes."""
        order = [*range(first), first + 1, first, *range(first + 2, rank)]
        return self._transpose(*order)

    def repeat(self, times: int, axis: int) -> IntegerMoves:
        """Put so many copies behind each other."""
        return self._add("Concat", [self.value] * times, axis=axis)

    def end(self) -> ir.Value:
        """Return the tensor with the channels first again."""
        return self._transpose(0, 3, 1, 2).value

    def _transpose(self, *perm: int) -> IntegerMoves:
        return self._add("Transpose", [self.value], perm=perm)

    def _add(
        self, kind: str, inputs: list[ir.Value], **attributes: int | tuple[int, ...]
    ) -> IntegerMoves:
        node = ir.node(kind, inputs, attributes, name=self._name(f"{self._stem}_{kind}"))
        output = node.outputs[0]
        output.name, output.type = self._name(f"{self._stem}_{kind.lower()}"), self.value.type
        self.nodes.append(node)
        self.value = output
        return self


def equal_pairs(node: ir.Node) -> tuple[ir.Value, ir.Node] | None:
    """Return the integers before an operator between pairs of one grid, and the second quantizer.

    None where the operator does not stand between such pairs or its output has other readers.
    """
    source = producer_of(node.inputs[0])
    behind = sole_consumer(node.outputs[0])
    if source is None or source.op_type != "DequantizeLinear":
        return None
    if behind is None or behind.op_type != "QuantizeLinear":
        return None
    grids = [tuple(map(scalar, each.inputs[1:3])) for each in (source, behind)]
    integers = source.inputs[0]
    if grids[0] != grids[1] or len(grids[0]) < 2 or None in grids[0] or integers is None:
        return None
    return (integers, behind) if integers.dtype == behind.outputs[0].dtype else None


def known_sizes(value: ir.Value | None) -> tuple[int, ...]:
    """Return channels, height and width of a tensor, or nothing where one of them is open."""
    if value is None or value.shape is None or len(value.shape) != 4:
        return ()
    sizes = tuple(size for size in list(value.shape)[1:] if isinstance(size, int))
    return sizes if len(sizes) == 3 else ()
