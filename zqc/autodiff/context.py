"""What a rule sees of the node that it differentiates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx_ir as ir

from passes.graph import constant
from zqc.autodiff.emitter import Attribute, Dim, Emitter, Operand, dims
from zqc.errors import InputShapeError, UnsupportedOperatorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Emits the gradient with respect to one input. None: no gradient flows to this input.
Vjp: TypeAlias = Callable[[], ir.Value] | None

STEEP = 2.0**120  # a power of two, so that nothing is rounded; its multiples may overflow

INT64_MAX = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Context:
    """One node of the forward graph, the gradients that arrive at it, and a pen.

    A rule is called as ``rule(context, *inputs, **attributes)`` and returns one `Pull` per input;
    the engine calls those whose gradient is wanted. A returned gradient has the shape of its
    input, or its ``shape`` is set and the engine sums or expands it to that of the input.

    Attributes:
        node: The node of the forward graph.
        dys: Gradients of its outputs; None for an output that the loss does not depend on.
        asked: The values whose gradient the caller wants.
        emitter: Appends to the graph.
    """

    node: ir.Node
    dys: tuple[ir.Value | None, ...]
    asked: frozenset[ir.Value]
    emitter: Emitter

    @property
    def dy(self) -> ir.Value:
        """The gradient of the first output."""
        if self.dys[0] is None or any(dy is not None for dy in self.dys[1:]):
            raise self.refusal("an output other than the first is used")
        return self.dys[0]

    @property
    def x(self) -> ir.Value:
        """The first input."""
        if self.node.inputs[0] is None:
            raise self.refusal("its first input is missing")
        return self.node.inputs[0]

    @property
    def y(self) -> ir.Value:
        """The first output."""
        return self.node.outputs[0]

    @property
    def opset(self) -> int:
        """Version of the default domain, which emitted nodes must be valid in."""
        return self.emitter.opset

    def op(self, op_type: str, *operands: Operand, **attributes: Attribute) -> ir.Value:
        """Append a node; see `Emitter.op`."""
        return self.emitter.op(op_type, operands, attributes, f"{self.y.name}_backward")

    def array(self, data: NDArray[np.generic], name: str) -> ir.Value:
        """Return a constant that is named after the output of this node."""
        return self.emitter.array(data, f"{self.y.name}_backward_{name}")

    def mask(self, condition: ir.Value) -> ir.Value:
        """Return 1.0 where the condition holds, else 0.0 (in ONNX Runtime faster than Where)."""
        return self.op("Cast", condition, to=int(ir.DataType.FLOAT))

    def positive(self, value: ir.Value) -> ir.Value:
        """Return 1.0 where a value is above 0, else 0.0.

        A HardSigmoid so steep that only numbers below 1e-36 lie on its slope. Unlike comparisons
        it has a kernel for ONNX Runtime's blocked layout, and its result needs no Cast.
        """
        return self.op("HardSigmoid", value, alpha=STEEP, beta=0.0)

    def complement(self, value: ir.Value) -> ir.Value:
        """Return 1 − value for a value in [0, 1]; Sub has no kernel for the blocked layout."""
        return self.op("HardSigmoid", value, alpha=-1.0, beta=1.0)

    def cast(self, value: ir.Value, like: ir.Value) -> ir.Value:
        """Return the value in the float type of another, float32 if that is unknown."""
        return self.op("Cast", value, to=int(like.dtype or ir.DataType.FLOAT))

    def sum(self, value: ir.Value, axes: Sequence[int], *, keepdims: bool = True) -> ir.Value:
        """Return the sum over axes."""
        return self.op("ReduceSum", value, list(axes), keepdims=int(keepdims))

    def mean(self, value: ir.Value, axes: Sequence[int]) -> ir.Value:
        """Return the mean over axes; see `Emitter.mean`."""
        return self.emitter.mean(value, axes, f"{self.y.name}_backward")

    def total(self, values: Sequence[ir.Value]) -> ir.Value:
        """Return the sum of values of one shape."""
        return values[0] if len(values) == 1 else self.op("Sum", *values)

    def slice(self, value: ir.Value, axis: int, start: int, end: int, step: int = 1) -> ir.Value:
        """Return a slice along one axis."""
        return self.op("Slice", value, [start], [end], [axis], [step])

    def pad(
        self, value: ir.Value, begins: Sequence[int], ends: Sequence[int], fill: float = 0.0
    ) -> ir.Value:
        """Return the value padded along its last axes; negative amounts mean none.

        The value has the rank of the first input.
        """
        begins = [max(0, begin) for begin in begins]
        ends = [max(0, end) for end in ends]
        if not any(begins) and not any(ends):
            return value
        untouched = [0] * (len(dims(self.x)) - len(begins))
        return self.op("Pad", value, [*untouched, *begins, *untouched, *ends], fill)

    def reshape(self, value: ir.Value, shape: Sequence[Dim], like: ir.Value) -> ir.Value:
        """Return the value in a shape with at most one dynamic dimension.

        With more than one of them, the shape is read from ``like`` when the graph runs.
        """
        dynamic = [dim for dim in shape if not isinstance(dim, int)]
        target: Operand = [dim if isinstance(dim, int) else -1 for dim in shape]
        if len(dynamic) > 1:
            target = self.op("Shape", like)
        return self.shaped(self.op("Reshape", value, target), shape)

    def shaped(self, value: ir.Value, shape: Sequence[Dim]) -> ir.Value:
        """Record the shape of a value that was just emitted."""
        value.shape = ir.Shape(shape)
        return value

    def dims(self, value: ir.Value) -> tuple[Dim, ...]:
        """Return the dimensions of a value of the forward graph."""
        return dims(value)

    def sizes(self, value: ir.Value, axes: Sequence[int]) -> tuple[int, ...]:
        """Return sizes that must be fixed when the graph is built.

        Raises:
            InputShapeError: One of them is dynamic.
        """
        shape = dims(value)
        sizes = [shape[axis] for axis in axes]
        if not all(isinstance(size, int) for size in sizes):
            raise InputShapeError(
                f"the gradient of {self.label} needs fixed sizes, but {value.name} has the shape "
                f"{[str(dim) for dim in shape]}; give the model's input a fixed size"
            )
        return tuple(int(size) for size in sizes if isinstance(size, int))

    def fixed(self, value: ir.Value | None, what: str) -> NDArray[Any]:
        """Return the array of an input that must be constant.

        Raises:
            UnsupportedOperatorError: It is not constant.
        """
        array = constant(value)
        if array is None:
            raise self.refusal(f"{what} is not constant")
        return array

    @property
    def label(self) -> str:
        """The operator and the name of the node, for messages."""
        return describe(self.node)

    def refusal(self, reason: str) -> UnsupportedOperatorError:
        """Return the error for a form of the operator that has no gradient here."""
        return unsupported(self.node, reason)


def describe(node: ir.Node) -> str:
    """Return operator and name of a node, for messages."""
    operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    outputs = ", ".join(output.name or "?" for output in node.outputs)
    return f"{operator} {node.name or 'without a name'!r} (output {outputs})"


def unsupported(node: ir.Node, reason: str) -> UnsupportedOperatorError:
    """Return the error for a node that cannot be differentiated."""
    return UnsupportedOperatorError(
        f"no gradient of {describe(node)}: {reason}. "
        "Calibration with pictures of your own (--images) or, at the risk of lower accuracy, with "
        "structured noise (--no-statistics) works without gradients"
    )
