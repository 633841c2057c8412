"""Weights on levels as codes of few bits, looked up by ONNX Runtime when it loads the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.log_affine import code_bits, level_sets, sets_of
from passes.graph import Namer, add_initializer, constant, int_attribute, named_node

_INT4, _INT32 = ir.DataType.INT4, ir.DataType.INT32.value

_MOST = 1 << 22
"""Weights that are looked up at once: that takes memory."""


@dataclass(frozen=True)
class _Coded:
    """A weight that can be codes.

    Attributes:
        value: Its initializer.
        bits: Bits of the codes.
        axis: Of the channels.
        sets: The set of levels of each, (channels,).
        rows: The weights of each, (channels, weights).
    """

    value: ir.Value
    bits: int
    axis: int
    sets: NDArray[np.int64]
    rows: NDArray[np.int8]


@dataclass(frozen=True)
class CodedWeights(ir.passes.InPlacePass):
    """Store INT8 weights that stand on levels as their codes. Exact.

    The levels are those of ``passes.analysis.log_affine``.
    ONNX Runtime folds what looks them up when it loads the model, and sees plain INT8 weights. All
    operators are those of opset 13. The code of zero is 0; those of levels below it are negative,
    which counts from the end of a table:

        tables  = Gather(every, Cast(sets))                    # of each channel, (channels, 2^b)
        weights = Reshape(Split(GatherElements(tables, Cast(codes), axis=1)), shape)

    1. Layers whose channels have the same number of weights share the operators.
    2. Matrices with their channels in columns are stored transposed.
    3. Declined: weights that do not stand on levels in every channel, and what somebody else reads.
       They are found by their integers alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace the weights, for each number of bits and of weights in a channel."""
        graph = model.graph
        name = Namer(graph)
        nodes: list[ir.Node] = []
        weights = [value for value in graph.initializers.values() if _is_int8_weight(value)]
        coded = [found for value in weights if (found := _coded(value)) is not None]
        for bits in sorted({each.bits for each in coded}):
            tables = add_initializer(graph, name(f"levels_{bits}"), _tables(bits))
            for group in _groups([each for each in coded if each.bits == bits]):
                nodes += _looked_up(graph, name, group, bits, tables)
        if nodes:
            graph.insert_before(graph[0], nodes)
        return ir.passes.PassResult(model, bool(nodes))


def _is_int8_weight(value: ir.Value) -> bool:
    """Whether a constant is a matrix or a kernel of INT8 that is dequantized and nothing else."""
    integers = constant(value)
    if value.dtype != ir.DataType.INT8 or integers is None or integers.ndim < 2:
        return False
    readers = [use.node.op_type for use in value.uses()]
    return bool(integers.size) and set(readers) == {"DequantizeLinear"}


def _coded(value: ir.Value) -> _Coded | None:
    """A weight as codes; None where it cannot be."""
    integers = constant(value)
    axes = {int_attribute(use.node, "axis", 1) for use in value.uses()}
    if integers is None or len(axes) > 1:
        return None
    axis = axes.pop() % integers.ndim
    if axis and integers.ndim > 2:
        return None
    bits = code_bits(integers, axis)
    rows = np.moveaxis(integers.astype(np.int8), axis, 0).reshape(integers.shape[axis], -1)
    sets = None if bits is None else sets_of(rows, bits)
    if bits is None or sets is None:
        return None
    return _Coded(value, bits, axis, sets, rows)


def _groups(weights: Sequence[_Coded]) -> Iterator[list[_Coded]]:
    """Those with the same number of weights in a channel, not too many at once."""
    by_length: dict[int, list[_Coded]] = {}
    for weight in weights:
        by_length.setdefault(weight.rows.shape[1], []).append(weight)
    for every in by_length.values():
        group: list[_Coded] = []
        total = 0
        for weight in every:
            if group and total + weight.rows.size > _MOST:
                yield group
                group, total = [], 0
            group.append(weight)
            total += weight.rows.size
        yield group


def _looked_up(
    graph: ir.Graph, name: Namer, group: Sequence[_Coded], bits: int, tables: ir.Value
) -> list[ir.Node]:
    """What makes the weights of a group of their codes; the readers are given the results."""
    stem = name(f"codes_{bits}")
    nodes: list[ir.Node] = []

    def emit(kind: str, *inputs: ir.Value, outputs: int = 1, **given: int) -> Sequence[ir.Value]:
        nodes.append(named_node(name, stem, kind, *inputs, outputs=outputs, **given))
        return nodes[-1].outputs

    def fixed(array: NDArray[np.generic] | ir.TensorProtocol, behind: str = "") -> ir.Value:
        return add_initializer(graph, name(f"{stem}{behind}"), array)

    levels = level_sets(bits)
    codes = np.concatenate([_codes(one.rows, levels[one.sets]) for one in group])
    sets = np.concatenate([one.sets for one in group]).astype(np.uint8)
    (index,) = emit("Cast", fixed(sets, "_sets"), to=_INT32)
    (own,) = emit("Gather", tables, index, axis=0)
    packed = fixed(ir.tensor(codes.astype(_INT4.numpy()), dtype=_INT4))
    (places,) = emit("Cast", packed, to=_INT32)
    results = emit("GatherElements", own, places, axis=1)
    if len(group) > 1:
        lengths = fixed(np.array([len(one.rows) for one in group]), "_lengths")
        results = emit("Split", results[0], lengths, outputs=len(group), axis=0)
    for one, result in zip(group, results, strict=True):
        value, weight = one.value, result
        if one.axis:
            (weight,) = emit("Transpose", weight)
        elif value.shape is not None and value.shape.rank() > 2:
            shape = fixed(np.array([-1, *value.shape.numpy()[1:]]), "_shape")
            (weight,) = emit("Reshape", weight, shape)
        weight.type, weight.shape = ir.TensorType(ir.DataType.INT8), value.shape
        ir.convenience.replace_all_uses_with(value, weight)
        graph.initializers.pop(value.name or "")
    return nodes


def _tables(bits: int) -> NDArray[np.int8]:
    """All sets of levels, from zero up, and behind them those below zero."""
    return np.roll(level_sets(bits), -(1 << (bits - 1)), axis=1)


def _codes(rows: NDArray[np.int8], levels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Where weights, (channels, weights), stand among the levels of their channels; 0 is zero."""
    places = np.full(rows.shape, -(levels.shape[1] // 2), np.int8)
    for level in levels.T:
        places += rows > level[:, np.newaxis]
    return places
