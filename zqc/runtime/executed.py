"""Which layers run on integer kernels: found by loading the result in ONNX Runtime.

Where the kernels of the target are elsewhere, what its rules quantize counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from passes.analysis.topology import (
    inner_layers,
    is_expectation,
    post_processing,
    weighted_layers,
)
from passes.graph import is_float, producer_of, sole_consumer
from passes.operators import PAIR, WEIGHTED
from passes.qdq import integer_ends
from zqc.errors import FloatKernelsError
from zqc.runtime.float_rules import FLOAT_LAYERS, label, of_operands, rule_of

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

_FLOAT_BITS = 32

_ONE_STEP = frozenset({"Clip", "Max", "Min", "Relu"})
"""What can follow an operator without a grid between: the grid behind both cuts off the same."""


def layer_reports(
    quantized: ir.Model,
    executed: ir.Model | None,
    excluded: Collection[str],
    bits_of: Mapping[str, int] | None = None,
) -> tuple[LayerReport, ...]:
    """Say of every weighted layer what became of it.

    Args:
        quantized: The canonical quantized model, which knows the bits.
        executed: What ONNX Runtime makes of the file; None where other engines run it, which
            compute a layer with integers if its input and its weights are quantized.
        excluded: Names of the nodes that the user keeps in float.
        bits_of: By name of the layer, the bits that its weights were rounded to, 32 for float; what
            they are stored in by default.
    """
    chosen = bits_of or {}
    rules = _canonical_rules(quantized) if executed is None else _kernel_rules(quantized, executed)
    reports = []
    for node in weighted_layers(quantized.graph):
        name = node.name or ""
        reports.append(
            LayerReport(
                name=name,
                op_type=node.op_type,
                weight_bits=_weight_bits(node, chosen),
                act_bits=_bits(node.inputs[0]),
                integer=not rules[node],
                reason=_reason(name, excluded, chosen, rules[node]) if rules[node] else "",
            )
        )
    return (
        tuple(reports)
        + tuple(
            _left(inner, f"stands inside {_article(outer.op_type)} {outer.op_type}")
            for inner, outer in inner_layers(quantized.graph)
        )
        + tuple(
            _left(node, f"ONNX Runtime has no integer kernel for {node.domain}.{node.op_type}")
            for node in quantized.graph
            if node.domain == "com.microsoft" and node.op_type in FLOAT_LAYERS
        )
    )


def left_reports(layers: Iterable[ir.Node], reason: str) -> tuple[LayerReport, ...]:
    """Say of layers that nothing has touched that they are float, and why."""
    return tuple(_left(layer, reason) for layer in layers)


def _left(layer: ir.Node, reason: str) -> LayerReport:
    return LayerReport(
        layer.name or "", layer.op_type, _FLOAT_BITS, _FLOAT_BITS, integer=False, reason=reason
    )


def _article(word: str) -> str:
    return "an" if word[0] in "AEIOU" else "a"


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
        layer = node.op_type in INTEGER_LAYERS | FLOAT_LAYERS and not is_expectation(node)
        if node in before or layer:
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
    return _grouped(found)


def unquantized_operators(
    quantized: ir.Model, excluded: Collection[str] = ()
) -> tuple[FloatOperators, ...]:
    """Operators before the post-processing that read float tensors, other than weighted layers.

    For targets whose kernels are elsewhere, and which quantize every tensor between layers.

    Args:
        quantized: The canonical quantized model.
        excluded: Names of the nodes that the user keeps in float.
    """
    tail = post_processing(quantized.graph)
    found: dict[tuple[str, str], list[str]] = {}
    for node in quantized.graph:
        if node in tail or node.op_type in PAIR | WEIGHTED or not is_float(node.outputs[0]):
            continue
        rule = _float_operand(node)
        if rule:
            rule = "kept by --keep-float" if node.name in excluded else rule
            found.setdefault((node.op_type, rule), []).append(label(node))
    return _grouped(found)


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
    if node.inputs[0].dtype is None:
        return _FLOAT_BITS
    low, high = integer_ends(node.inputs[0])
    return (high - low).bit_length()


def _weight_bits(node: ir.Node, chosen: Mapping[str, int]) -> int:
    """The chosen bits, unless the weights could not be quantized."""
    stored = _bits(node.inputs[1])
    return stored if stored == _FLOAT_BITS else chosen.get(node.name or "", stored)


def _kernel_rules(quantized: ir.Model, executed: ir.Model) -> dict[ir.Node, str]:
    """Why ONNX Runtime has each layer in float; empty where it does not."""
    integer = {node.name for node in executed.graph if node.op_type in INTEGER_LAYERS}
    floats = {node.name: node for node in executed.graph if node.op_type in FLOAT_LAYERS}
    return {
        node: "" if (node.name or "") in integer else rule_of(floats.get(node.name))
        for node in weighted_layers(quantized.graph)
    }


def _canonical_rules(quantized: ir.Model) -> dict[ir.Node, str]:
    """Why each layer cannot compute with integers, whoever runs it; empty where it can."""
    return {node: of_operands(node) for node in weighted_layers(quantized.graph)}


def _float_operand(node: ir.Node) -> str:
    """Say which operand of a node is float, or of the layer that it is one step with (its ReLU)."""
    first = node.inputs[0] if node.inputs else None
    source = producer_of(first)
    rule = of_operands(node)
    if not rule or first is None or source is None or node.op_type not in _ONE_STEP:
        return rule
    return _float_operand(source) if sole_consumer(first) is node else rule


def _grouped(found: Mapping[tuple[str, str], Sequence[str]]) -> tuple[FloatOperators, ...]:
    """Names by operator and rule as what is reported."""
    return tuple(
        FloatOperators(kind, tuple(names), rule) for (kind, rule), names in sorted(found.items())
    )


def _reason(name: str, excluded: Collection[str], chosen: Mapping[str, int], rule: str) -> str:
    if name in excluded:
        return "kept by --keep-float"
    if chosen.get(name) == _FLOAT_BITS:
        return "the target latency allows it"
    return rule


@dataclass(frozen=True)
class LayerReport:
    """One weighted layer (Conv, ConvTranspose, Gemm, MatMul) of the output.

    Attributes:
        name: Name of the node.
        op_type: ONNX operator type.
        weight_bits: Bits that its weights were rounded to; 32 where it stayed float.
        act_bits: Bits of its input.
        integer: Whether it computes with integers: on a kernel of the installed ONNX Runtime or, of
            a target whose kernels are elsewhere, by what is quantized.
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
