"""Appends nodes to a graph: names, constants, constant folding, shapes of elementwise results."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from passes.graph import Namer, constant
from zqc.errors import InputShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# A number becomes a float scalar, a list of integers an INT64 vector, an array a constant.
Operand: TypeAlias = "ir.Value | float | Sequence[int] | NDArray[np.generic] | None"
Attribute: TypeAlias = "float | str | Sequence[int]"
Dim: TypeAlias = int | ir.SymbolicDim

# fmt: off
_ELEMENTWISE = frozenset({
    "Abs", "Add", "And", "Atan", "Cast", "Clip", "Div", "Equal", "Erf", "Exp", "Greater",
    "HardSigmoid", "Less", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal", "Sigmoid",
    "Sign", "Softplus", "Sqrt", "Sub", "Sum", "Tanh", "Where",
})
# fmt: on


class Emitter:
    """Writes nodes at the end of a graph, valid from opset 13 to 24.

    Nodes whose operands are all constants are computed at once and become initializers named
    after the constant they come from; initializers that nothing reads are not kept.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.opset = graph.opset_imports[""]
        self._graph = graph
        self._name = Namer(graph)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._unnamed: set[ir.Value] = set()

    def op(
        self,
        op_type: str,
        operands: Sequence[Operand],
        attributes: Mapping[str, Attribute],
        base: str,
    ) -> ir.Value:
        """Append one node with one output.

        Args:
            op_type: Operator of the default domain.
            operands: Its inputs; numbers, integer lists and arrays become initializers.
            attributes: Its attributes.
            base: What the node and its output are named after, with the operator appended.
        """
        inputs = [self._value(operand, base) for operand in operands]
        while inputs and inputs[-1] is None:
            inputs.pop()
        arrays = [constant(value) for value in inputs]
        if inputs and all(array is not None for array in arrays):
            origin = inputs[0].name if inputs[0] is not None else base
            result = _evaluate(op_type, arrays, attributes, self.opset)
            return self._pending(result, f"{origin}_{op_type.lower()}")
        for value in inputs:
            self._register(value)
        name = self._name(f"{base}_{op_type}")
        node = ir.node(op_type, inputs, attributes, name=name)
        output = node.outputs[0]
        output.name = name
        dtype = _result_type(op_type, inputs, attributes)
        output.type = None if dtype is None else ir.TensorType(dtype)
        if op_type in _ELEMENTWISE:
            output.shape = _broadcast([value.shape for value in inputs if value is not None])
        self._graph.append(node)
        self._unnamed.add(output)
        return output

    def mean(self, value: ir.Value, axes: Sequence[int], base: str) -> ir.Value:
        """Append the mean over axes, which are kept with size 1."""
        return self._reduced("ReduceMean", value, axes, base)

    def largest(self, value: ir.Value, axes: Sequence[int], base: str) -> ir.Value:
        """Append the largest value over axes, which are kept with size 1."""
        return self._reduced("ReduceMax", value, axes, base)

    def _reduced(self, op_type: str, value: ir.Value, axes: Sequence[int], base: str) -> ir.Value:
        """Axes are an attribute until opset 17 and an input from 18 on."""
        if self.opset < 18:
            return self.op(op_type, [value], {"axes": list(axes), "keepdims": 1}, base)
        return self.op(op_type, [value, list(axes)], {"keepdims": 1}, base)

    def array(self, data: NDArray[np.generic], name: str) -> ir.Value:
        """Return a constant; equal arrays share one initializer."""
        key = (str(data.dtype), data.shape, data.tobytes())
        if key not in self._constants:
            self._constants[key] = self._pending(data, name)
        return self._constants[key]

    def named(self, value: ir.Value, name: str) -> ir.Value:
        """Name a value, by an Identity unless it was emitted here and has no name of its own yet.

        An Identity costs a copy where the value is read elsewhere, too.
        """
        if value in self._unnamed:
            self._unnamed.remove(value)
            value.name = self._name(name)
            return value
        self._register(value)
        node = ir.node("Identity", [value], name=self._name(name))
        output = node.outputs[0]
        output.name = node.name
        output.shape, output.type = value.shape, value.type
        self._graph.append(node)
        return output

    def _value(self, operand: Operand, base: str) -> ir.Value | None:
        if operand is None or isinstance(operand, ir.Value):
            return operand
        if isinstance(operand, np.ndarray):
            return self.array(operand, f"{base}_constant")
        if isinstance(operand, int | float):
            return self.array(np.asarray(operand, np.float32), "number")
        return self.array(np.asarray(operand, np.int64), "integers")

    def _pending(self, data: NDArray[np.generic], name: str) -> ir.Value:
        tensor = ir.tensor(np.ascontiguousarray(data).reshape(data.shape), name=self._name(name))
        return ir.Value(
            name=tensor.name,
            shape=ir.Shape(data.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )

    def _register(self, value: ir.Value | None) -> None:
        if constant(value) is not None and value is not None and value.graph is None:
            self._graph.register_initializer(value)


def float_input(name: str, shape: Sequence[int]) -> ir.Value:
    """A float32 value of a fixed shape that nothing computes: an input to be."""
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


def dims(value: ir.Value) -> tuple[Dim, ...]:
    """Return the dimensions of a value.

    Raises:
        InputShapeError: Not even their number is known.
    """
    if value.shape is None:
        raise InputShapeError(
            f"the number of dimensions of {value.name} is unknown, so it cannot be "
            "differentiated; give the model's input a fixed size"
        )
    return tuple(value.shape)


def _broadcast(shapes: Sequence[ir.Shape | None]) -> ir.Shape | None:
    """Return the numpy broadcast; a dynamic dimension is taken to equal its counterpart."""
    if any(shape is None for shape in shapes):
        return None
    known = [tuple(shape)[::-1] for shape in shapes if shape is not None]
    return ir.Shape([_wider(column) for column in zip_longest(*known, fillvalue=1)][::-1])


def _result_type(
    op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Attribute]
) -> ir.DataType | None:
    match op_type:
        case "And" | "Equal" | "Greater" | "Less":
            return ir.DataType.BOOL
        case "Shape" | "Size":
            return ir.DataType.INT64
        case "Cast":
            return ir.DataType(int(str(attributes["to"])))
    typed = inputs[1] if op_type == "Where" else inputs[0]
    return typed.dtype if typed is not None else None


def _wider(column: Sequence[Dim]) -> Dim:
    others = [dim for dim in column if dim != 1]
    fixed = [dim for dim in others if isinstance(dim, int)]
    return (fixed or others or [1])[0]


def _evaluate(
    op_type: str,
    arrays: Sequence[NDArray[np.generic] | None],
    attributes: Mapping[str, Attribute],
    opset: int,
) -> NDArray[np.generic]:
    names = [f"input{i}" for i in range(len(arrays))]
    node = ir.node(op_type, [ir.val(name) for name in names], attributes, name="folded")
    node.outputs[0].name = "folded"
    evaluator = ReferenceEvaluator(ir.to_proto(node), opsets={"": opset})
    results: Any = evaluator.run(None, dict(zip(names, arrays, strict=True)))
    return np.asarray(results[0])
