"""A short hand for nodes whose names do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from zqc.autodiff.emitter import Attribute, Emitter, Operand


@dataclass(frozen=True)
class Pen:
    """Writes nodes that are named after what they belong to.

    Attributes:
        emitter: Appends to the graph.
        base: What the nodes are named after.
    """

    emitter: Emitter
    base: str

    def __call__(self, op_type: str, *operands: Operand, **attributes: Attribute) -> ir.Value:
        """Append a node with one output."""
        return self.emitter.op(op_type, operands, attributes, self.base)

    def sum(self, value: ir.Value, axes: Sequence[int], *, keep: bool = False) -> ir.Value:
        """The sum over axes."""
        return self("ReduceSum", value, list(axes), keepdims=int(keep))

    def shaped(self, value: ir.Value, *sizes: int) -> ir.Value:
        """The value, with its shape recorded."""
        value.shape = ir.Shape(sizes)
        return value

    def part(self, value: ir.Value, start: int, stop: int, axis: int = -1) -> ir.Value:
        """The values from start to before stop on an axis."""
        return self("Slice", value, [start], [stop], [axis])

    def product(self, value: ir.Value) -> ir.Value:
        """The product of the two values on the last axis, which it keeps with size 1."""
        return self("Mul", self.part(value, 0, 1), self.part(value, 1, 2))

    def corners(self, centres: ir.Value) -> ir.Value:
        """(x1, y1, x2, y2) from (centre x, centre y, width, height) on the last axis."""
        centre, size = self.part(centres, 0, 2), self.part(centres, 2, 4)
        half = self("Mul", size, 0.5)
        low, high = self("Sub", centre, half), self("Add", centre, half)
        return self("Concat", low, high, axis=-1)

    def float(self, value: ir.Value) -> ir.Value:
        """Truth values as 0 and 1."""
        return self("Cast", value, to=int(ir.DataType.FLOAT))

    def array(self, values: object, dtype: type = np.float32) -> ir.Value:
        """A constant."""
        return self.emitter.array(np.asarray(values, dtype), self.base)
