"""Weights of fewer than 8 bits in bytes, unpacked by ONNX Runtime when it loads the file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import Namer, add_initializer, constant, named_node

_NARROW = (ir.DataType.INT4, ir.DataType.INT8)

CHAIN_BYTES = 700
"""About what the operators take in the file that unpack one tensor of packed weights."""


@dataclass(frozen=True)
class PackedWeights(ir.passes.InPlacePass):
    """Store integer weights in as many bits as they need, many layers in one UINT8 tensor. Exact.

    ONNX Runtime folds what unpacks them when it loads the model, from 1.16 on, and sees plain INT8
    weights. All operators are those of opset 13, which has neither INT4 nor BitwiseAnd:

        table   = Reshape(Concat(Expand(low), Expand(high)), [256, 8/d])     # byte → its digits
        digits  = Reshape(Gather(table, Cast(packed)), [digits of a weight, -1])
        weights = Reshape(Split(Cast(MatMulInteger(factors, digits)), sizes), shape)

    Digits are looked up, not computed, since runtimes do not compute alike: what a BitShift to the
    left pushes out is lost in ONNX Runtime and saturates in OpenVINO, which also rounds to the
    nearest number what a BitShift to the right leaves.

    1. Two and four bits: one digit of d = b bits a weight, looked up with its sign; no products.
    2. Other widths: b digits of one bit in two's complement; factors 1, 2, …, -2ᵇ⁻¹.
    3. Layers whose weights need the same bits share a tensor, so that small layers cost no
       operators of their own but the Reshape. None holds more than ``most`` weights, unless a
       single layer does: unpacking takes memory.
    4. Weights that need fewer bits are packed with more where that makes the file smaller.
    5. The codes of ``CodedWeights`` are packed like weights.
    6. Declined: weights that need bits other than ``widths`` (with INT4 in them, INT4 never stays),
       and what is no weight: vectors, and integers that somebody else reads.

    Attributes:
        widths: Bits that are packed, of 2 to 7. Four are for runtimes that cannot read INT4.
        most: Weights that are unpacked at once.
    """

    widths: Collection[int] = (2, 3, 5, 6)
    most: int = 1 << 20

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Pack the weights width by width."""
        graph = model.graph
        builder = _Unpacking(graph, Namer(graph))
        layers = self._by_width(graph)
        for bits, values in layers.items():
            for group in _groups(values, self.most):
                builder.pack(group, bits)
        builder.insert()
        return ir.passes.PassResult(model, bool(layers))

    def _by_width(self, graph: ir.Graph) -> dict[int, list[ir.Value]]:
        """The weights that are packed, by bits: of all choices of widths the smallest file."""
        weights = [value for value in graph.initializers.values() if _is_weight(value)]
        forms = [(_bits(_integers(value)), _stored_bits(value)) for value in weights]
        counts: Counter[tuple[int, int]] = Counter()
        for form, value in zip(forms, weights, strict=True):
            counts[form] += _integers(value).size
        choices = (c for n in range(len(self.widths) + 1) for c in combinations(self.widths, n))
        chosen = min(choices, key=lambda choice: self._bytes(counts, choice))
        packed: dict[int, list[ir.Value]] = {}
        for (bits, stored), value in zip(forms, weights, strict=True):
            width = self._width(bits, stored, chosen)
            if width is not None:
                packed.setdefault(width, []).append(value)
        return packed

    def _width(self, bits: int, stored: int, choice: Collection[int]) -> int | None:
        """The narrowest width that holds so many bits; None where the type is as narrow."""
        width = min((width for width in choice if width >= bits), default=stored)
        return width if width < stored or (width in choice and self._has_to_go(stored)) else None

    def _bytes(self, counts: Mapping[tuple[int, int], int], choice: Collection[int]) -> float:
        """What weights, counted by the bits they need and have, occupy with a choice of widths."""
        total = float(CHAIN_BYTES * len(choice))
        for (bits, stored), count in counts.items():
            width = self._width(bits, stored, choice)
            if width is None and self._has_to_go(stored):
                return math.inf
            total += count * (width or stored) / 8
        return total

    def _has_to_go(self, stored: int) -> bool:
        """Whether a weight cannot stay what it is: INT4, where four bits are packed."""
        return stored == 4 and 4 in self.widths


def _is_weight(value: ir.Value) -> bool:
    """Whether a constant is a matrix or a kernel that is dequantized, or codes of one."""
    integers = constant(value)
    if value.dtype not in _NARROW or integers is None or integers.ndim < 2 or not integers.size:
        return False
    readers = [use.node.op_type for use in value.uses()]
    return set(readers) in ({"DequantizeLinear"}, {"Cast"}) and not value.is_graph_output()


def _integers(value: ir.Value) -> NDArray[np.int8]:
    array = constant(value)
    assert array is not None  # it is an initializer
    return array.astype(np.int8)


def _bits(integers: NDArray[np.int8]) -> int:
    """Bits that hold all of some integers, 2 to 8."""
    channel_range = max(int(integers.max()), -1 - int(integers.min()), 1)
    return channel_range.bit_length() + 1


def _stored_bits(value: ir.Value) -> int:
    return 4 if value.dtype == ir.DataType.INT4 else 8


def _groups(values: Sequence[ir.Value], most: int) -> Iterator[list[ir.Value]]:
    """Split a list where the weights become too many."""
    group: list[ir.Value] = []
    total = 0
    for value in values:
        size = _integers(value).size
        if group and total + size > most:
            yield group
            group, total = [], 0
        group.append(value)
        total += size
    yield group


@dataclass(frozen=True)
class _Unpacking:
    """Writes the operators that unpack; equal constants and tables are shared."""

    graph: ir.Graph
    name: Namer
    nodes: list[ir.Node] = field(default_factory=list)
    constants: dict[tuple[str, bytes], ir.Value] = field(default_factory=dict)
    tables: dict[int, ir.Value] = field(default_factory=dict)

    def insert(self) -> None:
        """Put all that was written before everything else."""
        self.graph.insert_before(self.graph[0], self.nodes)

    def pack(self, values: Sequence[ir.Value], bits: int) -> None:
        """Replace weights by parts of one packed tensor."""
        arrays = [_integers(value) for value in values]
        digit = _digit_bits(bits)
        count = 8 // digit
        rest = -sum(array.size for array in arrays) % count
        flat = np.concatenate([*(array.reshape(-1) for array in arrays), np.zeros(rest, np.int8)])
        sizes = np.array([array.size for array in arrays] + [rest] * (rest > 0))
        stem = self.name(f"packed_{bits}")
        packed = add_initializer(self.graph, stem, packed_bytes(flat, bits))

        table = self._table(digit)
        indices = self._emit(stem, "Cast", packed, to=ir.DataType.INT32.value)
        digits = self._emit(stem, "Gather", table, indices.outputs[0], axis=0)
        rows = self._constant("rows", np.array([bits // digit, -1]))
        line = self._emit(stem, "Reshape", digits.outputs[0], rows)
        if bits > digit:
            wide = self._emit(stem, "MatMulInteger", *self._factors(bits, line.outputs[0]))
            line = self._emit(stem, "Cast", wide.outputs[0], to=ir.DataType.INT8.value)
        lengths = self._constant("sizes", sizes)
        split = self._emit(stem, "Split", line.outputs[0], lengths, outputs=len(sizes), axis=1)
        for value, array, part in zip(values, arrays, split.outputs, strict=False):
            kernel = array.shape[1:]
            shape = self._constant("x".join(map(str, kernel)), np.array([-1, *kernel]))
            weight = self._emit(stem, "Reshape", part, shape).outputs[0]
            weight.type, weight.shape = ir.TensorType(ir.DataType.INT8), value.shape
            ir.convenience.replace_all_uses_with(value, weight)
            self.graph.initializers.pop(value.name or "")

    def _factors(self, bits: int, digits: ir.Value) -> tuple[ir.Value, ...]:
        """The operands of MatMulInteger for digits of one bit, shape (bits, weights)."""
        # Only unsigned factors have a kernel in every version: they are stored 128 too large.
        factors = (1 << np.arange(bits)) * np.where(np.arange(bits) == bits - 1, -1, 1) + 128
        return (
            self._constant("factors", factors.astype(np.uint8).reshape(1, -1)),
            digits,
            self._constant("zero", np.array(128, np.uint8)),
        )

    def _table(self, digit: int) -> ir.Value:
        """The digits of every byte, shape (256, 8/d), from those of every half of one."""
        if digit not in self.tables:
            stem = f"digits_{digit}"
            half = half_digits(digit)
            square = self._constant("square", np.array([16, 16, half.shape[-1]]))
            low, high = (
                self._emit(stem, "Expand", self._constant(end, half.reshape(shape)), square)
                for end, shape in (("low", (1, 16, -1)), ("high", (16, 1, -1)))
            )
            both = self._emit(stem, "Concat", low.outputs[0], high.outputs[0], axis=2)
            shape = self._constant("table", np.array([256, -1]))
            self.tables[digit] = self._emit(stem, "Reshape", both.outputs[0], shape).outputs[0]
        return self.tables[digit]

    def _emit(
        self, stem: str, kind: str, *inputs: ir.Value, outputs: int = 1, **given: int
    ) -> ir.Node:
        node = named_node(self.name, stem, kind, *inputs, outputs=outputs, **given)
        self.nodes.append(node)
        return node

    def _constant(self, stem: str, array: NDArray[np.generic]) -> ir.Value:
        key = stem, array.tobytes()
        if key not in self.constants:
            self.constants[key] = add_initializer(self.graph, self.name(stem), array)
        return self.constants[key]


def _digit_bits(bits: int) -> int:
    """Bits of the digits that weights are packed in: cases 1 and 2."""
    return bits if bits in (2, 4) else 1


def half_digits(digit: int) -> NDArray[np.integer]:
    """Digits of every number of four bits, the lowest first, shape (16, 4/d).

    Digits of one bit are unsigned, as MatMulInteger takes them; others are weights with their sign.
    """
    digits = np.arange(16).reshape(-1, 1) >> np.arange(0, 4, digit) & (1 << digit) - 1
    if digit == 1:
        return digits.astype(np.uint8)
    return (digits - ((digits >> (digit - 1)) << digit)).astype(np.int8)


def packed_bytes(integers: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """Pack integers in two's complement, see ``PackedWeights``; the first has the lowest digit.

    Args:
        integers: Shape (n,), a multiple of c = 4 for two bits, 2 for four and 8 for other widths.
        bits: Bits of each, 2 to 7.

    Returns:
        Shape (digits of a weight, n/c).
    """
    digit = _digit_bits(bits)
    count = 8 // digit
    rows = integers.astype(np.int16).reshape(1, -1, count)
    digits = rows >> np.arange(0, bits, digit).reshape(-1, 1, 1) & (1 << digit) - 1
    packed: NDArray[np.uint8] = (digits << digit * np.arange(count)).sum(axis=2).astype(np.uint8)
    return packed
