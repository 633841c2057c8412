"""What the graphs of the synthesis are written with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray
from onnx_ir.tape import Tape

from passes.graph import add_initializer


def number(tape: Tape, name: str, value: ArrayLike, dtype: type = np.float32) -> ir.Value:
    """A constant of the step, registered once per name and apart from those of the model."""
    graph, name = graph_of(tape), f"step/{name}"
    array: NDArray[Any] = np.asarray(value, dtype)
    return graph.initializers.get(name) or add_initializer(graph, name, array)


def typed(
    value: ir.Value, shape: Sequence[int], dtype: ir.DataType = ir.DataType.FLOAT
) -> ir.Value:
    """The value, with its type and shape recorded."""
    value.type, value.shape = ir.TensorType(dtype), ir.Shape(list(shape))
    return value


def sizes(value: ir.Value) -> tuple[int, ...]:
    """The shape of a value, all of whose dimensions are static."""
    assert value.shape is not None
    return value.shape.numpy()


def channels(value: ir.Value) -> int:
    """Channels of a value."""
    return sizes(value)[1]


def positions(value: ir.Value, batch: int) -> int:
    """Positions of a channel in one picture of a batch.

    Axis 0 may hold more than the pictures: windows of them, or the regions that are looked at.
    """
    count, _, *behind = sizes(value)
    return int(count * np.prod(behind)) // batch


def scaled(tape: Tape, scalar: ir.Value, factor: ir.Value) -> ir.Value:
    """A scalar times another one."""
    return typed(tape.op("Mul", [scalar, factor]), ())


def graph_of(tape: Tape) -> ir.Graph:
    """The graph that a tape appends to."""
    graph = tape.graph_like
    assert isinstance(graph, ir.Graph)
    return graph
