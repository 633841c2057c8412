"""Which layers really run on integer kernels: found by loading the result in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from passes.analysis.topology import post_processing, weighted_layers
from passes.graph import producer_of
from zqc.errors import FloatKernelsError
from zqc.runtime.float_rules import FLOAT_LAYERS, label, rule_of

INTEGER_LAYERS = frozenset(
    {
        "QLinearConv",
        "QLinearConvTranspose",
        "QLinearMatMul",
        "QGemm",
        "MatMulIntegerToFloat",
        "ConvInteger",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
    }
)
"""Weighted layers as ONNX Runtime fuses them, on integer kernels."""

_BITS = {
    ir.DataType.INT4: 4,
    ir.DataType.UINT4: 4,
    ir.DataType.INT8: 8,
    ir.DataType.UINT8: 8,
}
_FLOAT_BITS = 32


def layer_reports(
    quantized: ir.Model,
    executed: ir.Model,
    excluded: Collection[str],
    bits_of: Mapping[str, int] | None = None,
) -> tuple[LayerReport, ...]:
    """Say of every weighted layer what became of it.

    Args:
        quantized: The canonical quantized model, which knows the bits.
        executed: What ONNX Runtime makes of the file.
        excluded: Names of the nodes that the user keeps in float.
        bits_of: By name of the layer, the bits that its weights were rounded to, 32 for float; what
            they are stored in by default.
    """
    chosen = bits_of or {}
    integer = {node.name for node in executed.graph if node.op_type in INTEGER_LAYERS}
    floats = {node.name: node for node in executed.graph if node.op_type in FLOAT_LAYERS}
    reports = []
    for node in weighted_layers(quantized.graph):
        name = node.name or ""
        reports.append(
            LayerReport(
                name=name,
                op_type=node.op_type,
                weight_bits=_weight_bits(node, chosen),
                act_bits=_bits(node.inputs[0]),
                integer=name in integer,
                reason="" if name in integer else _reason(name, excluded, chosen, floats.get(name)),
            )
        )
    return tuple(reports)


def float_operators(
    executed: ir.Model, excluded: Collection[str] = ()
) -> tuple[FloatOperators, ...]:
    """Operators before the post-processing that compute in float, other than weighted layers.

    Args:
        executed: What ONNX Runtime makes of the file.
        excluded: Names of the nodes that the user keeps in float.
    """
    graph = executed.graph
    before: set[ir.Node] = set()
    integers = {v for v in graph.inputs if v.dtype is not None and v.dtype.is_integer()}
    for node in reversed(graph):
        if node in before or node.op_type in INTEGER_LAYERS | FLOAT_LAYERS:
            before.add(node)
            before.update(p for p in (v.producer() for v in node.inputs if v) if p is not None)
    for node in graph:
        # The saved graph does not always say types: data stays integer until DequantizeLinear.
        if _makes_integers(node) or (
            not _makes_floats(node) and any(v in integers for v in node.inputs)
        ):
            integers.update(node.outputs)
    # What the file takes has to become what layers read: no choice of anybody's.
    borders = set(graph.inputs)
    for node in graph:
        if node.op_type == "Transpose" and node.inputs[0] in borders:
            borders.update(node.outputs)
    found: dict[tuple[str, str], list[str]] = {}
    for node in graph:
        if (
            node in before
            and node.op_type not in FLOAT_LAYERS | {"DequantizeLinear"}
            and node.outputs[0] not in integers
            and not _is_barrier(node)
            and not (node.op_type == "Cast" and node.inputs[0] in borders)
        ):
            rule = "kept by --keep-float" if node.name in excluded else rule_of(node)
            found.setdefault((node.op_type, rule), []).append(label(node))
    return tuple(
        FloatOperators(kind, tuple(names), rule) for (kind, rule), names in sorted(found.items())
    )


def require_integer(layers: Collection[LayerReport], operators: Collection[FloatOperators]) -> None:
    """Refuse a model of which a layer, or an operator before the post-processing, stays float.

    Raises:
        FloatKernelsError: The message names all of them with the rule that stopped each.
    """
    floats = [(layer.op_type, layer.name, layer.reason) for layer in layers if not layer.integer]
    floats += [(found.op_type, name, found.reason) for found in operators for name in found.names]
    said = [f"{kind} {name}: {reason}" for kind, name, reason in floats]
    if said:
        listed = "".join(f"\n  {line}" for line in said)
        raise FloatKernelsError(
            f"--require-integer: {len(said)} stay in float, so nothing is written:{listed}"
        )


def _is_barrier(node: ir.Node) -> bool:
    """Whether the node computes nothing, see ``passes.FloatBarriers``."""
    return node.op_type == "Max" and len(node.inputs) == 1


def _makes_floats(node: ir.Node) -> bool:
    """Whether the node gives floats whatever it reads."""
    if node.op_type == "Cast":
        return ir.DataType(node.attributes["to"].as_int()).is_floating_point()
    return node.op_type == "DequantizeLinear"


def _makes_integers(node: ir.Node) -> bool:
    return (
        node.op_type in INTEGER_LAYERS
        or node.op_type == "QuantizeLinear"
        or node.op_type.startswith("QLinear")
    )


def tail_starts(model: ir.Model) -> tuple[str, ...]:
    """Names of the nodes with which the post-processing begins."""
    tail = post_processing(model.graph)
    return tuple(
        f"{node.op_type} {node.name}"
        for node in model.graph
        if node in tail
        and any(
            v is not None and v.producer() is not None and v.producer() not in tail
            for v in node.inputs
        )
    )


def _bits(value: ir.Value | None) -> int:
    node = producer_of(value)
    if node is None or node.op_type != "DequantizeLinear" or node.inputs[0] is None:
        return _FLOAT_BITS
    kind = node.inputs[0].dtype
    return _BITS[kind] if kind is not None else _FLOAT_BITS


def _weight_bits(node: ir.Node, chosen: Mapping[str, int]) -> int:
    """The chosen bits, unless the weights could not be quantized."""
    stored = _bits(node.inputs[1])
    return stored if stored == _FLOAT_BITS else chosen.get(node.name or "", stored)


def _reason(
    name: str, excluded: Collection[str], chosen: Mapping[str, int], executed: ir.Node | None
) -> str:
    if name in excluded:
        return "kept by --keep-float"
    if chosen.get(name) == _FLOAT_BITS:
        return "the target latency allows it"
    return rule_of(executed)


@dataclass(frozen=True)
class LayerReport:
    """One weighted layer (Conv, ConvTranspose, Gemm, MatMul) of the output.

    Attributes:
        name: Name of the node.
        op_type: ONNX operator type.
        weight_bits: Bits that its weights were rounded to; 32 where it stayed float.
        act_bits: Bits of its input.
        integer: Whether the installed ONNX Runtime runs it on an integer kernel.
        reason: Why it does not; empty where it does.
    """

    name: str
    op_type: str
    weight_bits: int
    act_bits: int
    integer: bool
    reason: str = ""


@dataclass(frozen=True)
class FloatOperators:
    """Operators other than weighted layers that run in float, all for the same reason.

    Attributes:
        op_type: Type of the operators.
        names: Their names.
        reason: The rule that stopped them.
    """

    op_type: str
    names: tuple[str, ...]
    reason: str
