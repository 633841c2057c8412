"""Chains of operators that move integers about with the channels last."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer


class IntegerLayout:
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

    def reshape(self, *sizes: int) -> IntegerLayout:
        """Read the same integers in the same order with these sizes; -1 is what is left."""
        shape = add_initializer(
            self._graph, self._name(f"{self._stem}_shape"), np.array(sizes, np.int64)
        )
        return self._add("Reshape", [self.value, shape])

    def swap(self, rank: int, first: int) -> IntegerLayout:
        """Exchange the axes ``first`` and ``first`` + 1 of a tensor of ``rank`` axes."""
        order = [*range(first), first + 1, first, *range(first + 2, rank)]
        return self._transpose(*order)

    def repeat(self, times: int, axis: int) -> IntegerLayout:
        """Put so many copies behind each other."""
        return self._add("Concat", [self.value] * times, axis=axis)

    def end(self) -> ir.Value:
        """Return the tensor with the channels first again."""
        return self._transpose(0, 3, 1, 2).value

    def _transpose(self, *perm: int) -> IntegerLayout:
        return self._add("Transpose", [self.value], perm=perm)

    def _add(
        self, kind: str, inputs: list[ir.Value], **attributes: int | tuple[int, ...]
    ) -> IntegerLayout:
        node = ir.node(kind, inputs, attributes, name=self._name(f"{self._stem}_{kind}"))
        output = node.outputs[0]
        output.name, output.type = self._name(f"{self._stem}_{kind.lower()}"), self.value.type
        self.nodes.append(node)
        self.value = output
        return self
