"""Quantized tensors in 8 bits, whatever they were in before: three passes, one rewriting.

ONNX Runtime's integer kernels take UINT8 on x86 and INT8 on ARM; other runtimes know no 4 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from passes.analysis.topology import is_weighted
from passes.graph import Namer, add_initializer, constant, name_of, scalar
from passes.qdq import clip_behind, integer_clip, integer_ends, integers_of

_RANGES: Mapping[ir.DataType, tuple[int, int]] = MappingProxyType(
    {
        ir.DataType.INT8: (-128, 127),
        ir.DataType.UINT8: (0, 255),
        ir.DataType.INT4: (-8, 7),
        ir.DataType.UINT4: (0, 15),
    }
)
WIDER = {ir.DataType.INT4: ir.DataType.INT8, ir.DataType.UINT4: ir.DataType.UINT8}
"""The type of 8 bits that a type of 4 bits goes into as it is."""

_MIDDLE = 128


@dataclass(frozen=True)
class SignedActivations(ir.passes.InPlacePass):
    """Store every quantized tensor as INT8. Exact: q − 128 with zero point −128 is the same value.

    The cases are those of ``store_activations``: UINT8 with zero point 0 gets zero point
    −128 and any other one less 128, UINT4 a Clip to −128…−113 on the integers between the pair,
    INT4 one to −8…7. INT8 stays.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every pair."""
        return ir.passes.PassResult(model, store_activations(model, ir.DataType.INT8))


@dataclass(frozen=True)
class UnsignedActivations(ir.passes.InPlacePass):
    """Store every quantized tensor as UINT8. Exact: q + 128 with zero point 128 is the same value.

    The cases are those of ``store_activations``: INT8 with zero point 0 gets zero point
    128, INT4 a Clip to 120…135 on the integers between the pair, UINT4 one to 0…15. UINT8 stays.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every pair."""
        return ir.passes.PassResult(model, store_activations(model, ir.DataType.UINT8))


@dataclass(frozen=True)
class WideActivations(ir.passes.InPlacePass):
    """Store tensors of 4 bits in 8 bits, with a Clip of the integers. Exact: every value stays.

    The cases are those of ``store_activations``: INT4 becomes INT8 with a Clip to −8…7,
    UINT4 becomes UINT8 with one to 0…15, an odd zero point is raised by one. INT8 and UINT8 stay.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every pair of 4 bits."""
        return ir.passes.PassResult(model, store_activations(model, None))


def store_activations(model: ir.Model, kind: ir.DataType | None) -> bool:
    """Store the integers of every pair, and of constants that are no weights, in 8 bits.

    An integer of another type becomes itself plus a number that its zero point becomes larger by,
    too, so that the value stays.

    1. INT8 with zero point 0 ↔ UINT8 with zero point 128, other zero points likewise.
    2. INT4 → as INT8, with a Clip to its range on the integers between the pair.
    3. UINT4 → as UINT8, likewise. An odd zero point is raised by one, and the Clip with it: ONNX
       Runtime's integer kernels add it before they round, which is only the same when it is even
       (see ``passes.arithmetic``).
    4. A constant operand of an Add or Mul: as in case 1.
    5. Weights and biases are left alone.

    Args:
        model: Changed in place.
        kind: INT8 or UINT8; None for the one that has the sign of what is stored.

    Returns:
        Whether anything was not of that type.
    """
    graph = model.graph
    storage = _Storage(graph, kind)
    modified = False
    for node in list(graph):
        if node.op_type == "QuantizeLinear":
            modified = storage.rewrite_pair(node) or modified
        elif node.op_type == "DequantizeLinear":
            modified = storage.rewrite_constant(node) or modified
    return modified


class _Storage:
    """Rewrites pair by pair; equal zero points are written once."""

    def __init__(self, graph: ir.Graph, kind: ir.DataType | None) -> None:
        self._graph = graph
        self._kind = kind
        self._name = Namer(graph)
        self._zeros: dict[tuple[ir.DataType, int], ir.Value] = {}

    def rewrite_pair(self, node: ir.Node) -> bool:
        old = node.inputs[2] if len(node.inputs) > 2 else None
        kind = old.dtype if old is not None else None
        if kind is None or kind not in _RANGES:
            return False
        stored = self._kind or WIDER.get(kind, kind)
        if kind == stored:
            return False
        low, high = _RANGES[kind]
        point = int(scalar(old) or 0)
        raised = _raised(kind, stored) + (point % 2 if kind == ir.DataType.UINT4 else 0)
        zero = self._zero(point + raised, stored)
        node.replace_input_with(2, zero)
        quantized = node.outputs[0]
        quantized.type = ir.TensorType(stored)
        clip = clip_behind(node)
        readers = list(integers_of(node).uses())
        for use in readers:
            use.node.replace_input_with(2, zero)
        if clip is not None:
            self._move(clip, raised, stored)
        elif high - low < 255:
            clipped = integer_clip(self._graph, node, low + raised, high + raised, self._name)
            for use in readers:
                use.node.replace_input_with(use.idx, clipped)
        return True

    def _move(self, clip: ir.Node, raised: int, stored: ir.DataType) -> None:
        """Let a Clip cut off integers that have become larger."""
        for index, end in enumerate(integer_ends(clip.outputs[0]), start=1):
            bound = np.array(end + raised, stored.numpy())
            name = self._name(f"{name_of(clip.inputs[index])}_stored")
            clip.replace_input_with(index, add_initializer(self._graph, name, bound))
        clip.outputs[0].type = ir.TensorType(stored)

    def rewrite_constant(self, node: ir.Node) -> bool:
        value = node.inputs[0]
        integers = constant(value)
        kind = self._kind
        if integers is None or value is None or kind is None or value.dtype == kind:
            return False
        if value.dtype not in (ir.DataType.INT8, ir.DataType.UINT8):
            return False
        if any(is_weighted(use.node) for use in node.outputs[0].uses()):
            return False
        raised = _raised(value.dtype, kind)
        # Arithmetic turns an array without dimensions into a number.
        stored = np.asarray(integers.astype(np.int16) + raised, kind.numpy())
        word = "signed" if kind == ir.DataType.INT8 else "unsigned"
        point = int(scalar(node.inputs[2]) or 0) if len(node.inputs) > 2 else 0
        name = self._name(f"{value.name}_{word}")
        node.replace_input_with(0, add_initializer(self._graph, name, stored))
        node.resize_inputs(3)
        node.replace_input_with(2, self._zero(point + raised, kind))
        return True

    def _zero(self, point: int, kind: ir.DataType) -> ir.Value:
        key = (kind, point)
        if key not in self._zeros:
            array = np.array(point, kind.numpy())
            self._zeros[key] = add_initializer(self._graph, self._name(f"zero_{point}"), array)
        return self._zeros[key]


def _raised(kind: ir.DataType, stored: ir.DataType) -> int:
    """How much larger the integers of a type become in another one."""
    was_signed = kind in (ir.DataType.INT8, ir.DataType.INT4)
    return _MIDDLE * (was_signed - (stored == ir.DataType.INT8))
