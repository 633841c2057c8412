"""Operators that are positively homogeneous per channel, and where they carry each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.bounds import upper_bound
from passes.graph import channels, constant, int_attribute, rank, scalar
from passes.operators import HOMOGENEOUS

Ids = NDArray[np.int64]
"""A number for each channel of a tensor, shape (C,)."""


def flow(node: ir.Node, inputs: Sequence[Ids | None]) -> list[Ids] | None:
    """Return the numbers of the output channels; None where factors do not pass unchanged.

    1. Relu, LeakyRelu, MaxPool, AveragePool, GlobalAveragePool and the like; PRelu with constant
       slopes; Clip from 0, whose upper bound must be scaled as well (``upper_bound``).
    2. Resize, and Pad with zeros, edges or reflections, in space.
    3. Concat, Split and Slice along channels or in space; along another axis, a Concat passes where
       its inputs have the same numbers.
    4. Products with constants, and quotients by them.
    5. Flatten and Reshape from (N, C, …) to (N, C·…): what a Gemm reads.
    6. Shape and Size read no value at all.

    Args:
        node: An operator of the standard domain.
        inputs: Numbers of its inputs, None for tensors without channels.
    """
    if node.op_type == "Concat":
        return _concat(node, inputs)
    if node.op_type in ("Shape", "Size"):
        return []
    source = inputs[0] if inputs else None
    if node.op_type in ("Mul", "Div"):
        return _scaled(node, inputs)
    if source is None or not node.outputs:
        return None
    if node.op_type in HOMOGENEOUS or _carries(node, source):
        return [source]
    if node.op_type == "Split":
        return _split(node, source)
    if node.op_type == "Slice":
        return _sliced(node, source)
    if node.op_type in ("Flatten", "Reshape"):
        return _flattened(node, source)
    return None


def _carries(node: ir.Node, source: Ids) -> bool:
    """Whether an operator with parameters leaves every channel in its place, as case 1 or 2."""
    if node.op_type == "Clip":
        return upper_bound(node) is not None
    if node.op_type == "PRelu":
        return constant(node.inputs[1]) is not None
    if channels(node.outputs[0]) != len(source):
        return False
    if node.op_type == "Resize":
        return _text(node, "coordinate_transformation_mode", "") != "tf_crop_and_resize"
    if node.op_type == "Pad":
        filled = node.inputs[2] if len(node.inputs) > 2 else None
        zero = filled is None or scalar(filled) == 0.0
        pads = constant(node.inputs[1])
        return (
            (zero or _text(node, "mode", "constant") != "constant")
            and pads is not None
            and (len(node.inputs) < 4 or node.inputs[3] is None)
            and not pads[1]
            and not pads[len(pads) // 2 + 1]
        )
    return False


def _concat(node: ir.Node, inputs: Sequence[Ids | None]) -> list[Ids] | None:
    dimensions = rank(node.outputs[0])
    parts = [numbers for numbers in inputs if numbers is not None]
    if dimensions is None or len(parts) != len(inputs):
        return None
    if int_attribute(node, "axis", 1) % dimensions == 1:
        return [np.concatenate(parts)]
    same = all(np.array_equal(part, parts[0]) for part in parts)
    return [parts[0]] if same else None


def _split(node: ir.Node, source: Ids) -> list[Ids] | None:
    dimensions = rank(node.inputs[0]) if node.inputs[0] is not None else None
    if dimensions is None:
        return None
    if int_attribute(node, "axis", 0) % dimensions != 1:
        return [source] * len(node.outputs)
    sizes = [channels(output) for output in node.outputs]
    known = [size for size in sizes if size is not None]
    if len(known) != len(sizes) or sum(known) != len(source):
        return None
    return list(np.split(source, np.cumsum(known)[:-1]))


def _sliced(node: ir.Node, source: Ids) -> list[Ids] | None:
    starts, ends, axes, steps = (
        constant(node.inputs[i]) if i < len(node.inputs) else None for i in range(1, 5)
    )
    dimensions = rank(node.inputs[0]) if node.inputs[0] is not None else None
    if starts is None or ends is None or dimensions is None or node.inputs[3:4] == (None,):
        return None
    axes = np.arange(len(starts)) if axes is None else axes % dimensions
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if axis == 1:
            source = source[start:end:step]
    return [source] if channels(node.outputs[0]) == len(source) else None


def _scaled(node: ir.Node, inputs: Sequence[Ids | None]) -> list[Ids] | None:
    for index in (0, 1) if node.op_type == "Mul" else (0,):
        numbers, other = inputs[index], node.inputs[1 - index]
        if numbers is not None and constant(other) is not None:
            # A constant of one channel at most beside one channel must not make more of it.
            return [numbers] if channels(node.outputs[0]) == len(numbers) else None
    return None


def _flattened(node: ir.Node, source: Ids) -> list[Ids] | None:
    before, after = node.inputs[0], node.outputs[0]
    if before is None or before.shape is None or after.shape is None:
        return None
    old, new = before.shape.dims, after.shape.dims
    if len(new) != 2 or not all(isinstance(size, int) for size in (*old[1:], new[1])):
        return None
    inner = math.prod(int(str(size)) for size in old[2:])
    return [source.repeat(inner)] if new[1] == len(source) * inner else None


def _text(node: ir.Node, name: str, default: str) -> str:
    attribute = node.attributes.get(name)
    return attribute.as_string() if attribute is not None else default
