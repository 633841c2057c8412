"""Which tensors are quantized, and which of them share a grid: an analysis, no edit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from passes.analysis.bounds import absorbs_negative, is_wide_softmax, least_of_minimum
from passes.analysis.coordinates import coordinate_values, wants_grid
from passes.analysis.float_regions import attention_logits, float_values, masked_values
from passes.analysis.topology import (
    after_last_layers,
    first_layers,
    is_weighted,
    last_layers,
    post_processing,
)
from passes.graph import constant, is_float, is_silu, sole_consumer
from passes.operators import (
    ACTIVATIONS,
    KEEPS_SIGN,
    NONNEGATIVE,
    SAME_GRID,
    SELECTING,
    SLIGHTLY_NEGATIVE,
)


@dataclass(frozen=True)
class QuantizationPoint:
    """Tensors that are quantized on one grid.

    Attributes:
        names: Their names; the first is the tensor whose values all the others only select from.
        nonnegative: Whether no value can be below zero, whatever the picture.
        first_last: Whether a tensor feeds a first or a last layer, is the output of a first one
            (behind its activation function) or comes after the last ones.
        internal: Whether the tensors stand inside an activation function, such as between a Conv
            and its SiLU: no quantization point by the paper, only one for the runtime.
        joined: Whether the tensor is a Concat of tensors that are on grids of their own: every
            value was rounded before.
        slightly_negative: Whether the tensor reaches a little below zero and far above: outputs of
            SiLU, hard-swish, GELU, ELU, LeakyReLU and the like, and what joins, adds or selects
            them. Shift-negative correction is for these.
        squashed_by: ``Sigmoid`` or ``Softmax`` where nothing else reads the values, perhaps after
            operators that move them: then the scores count, not the logits. Empty otherwise.
        decides: Whether the largest values decide: in a Softmax over many values, and in what is
            added, selected or bounded on its way there.
    """

    names: tuple[str, ...]
    nonnegative: bool
    first_last: bool
    internal: bool
    joined: bool
    slightly_negative: bool
    squashed_by: Literal["", "Sigmoid", "Softmax"]
    decides: bool = False


def quantization_points(
    graph: ir.Graph,
    *,
    excluded: Collection[str] = (),
    nonnegative_inputs: bool = False,
    only_layer_inputs: bool = False,
) -> list[QuantizationPoint]:
    """Find the tensors to quantize.

    Quantized are all float tensors that a node before the post-processing reads or writes, except

    1. constants (the weights, see ``QuantizeWeights``),
    2. a tensor that only a ReLU or a Clip from 0 reads: the grid after the activation function
       cuts off the same values (HPTQ: a linear operator and its non-linearity are one point),
    3. tensors that only nodes of ``excluded`` read and write,
    4. what stands inside a function or normalisation that is written in parts (``float_values``),
    5. the logits of attention (``attention_logits``, ``masked_values``),
    6. coordinates and what decides a selection (``coordinate_values``), but for layers that read
       them.

    Args:
        graph: A graph with shapes and types, BatchNormalization folded.
        excluded: Names of nodes that stay in float.
        nonnegative_inputs: Whether the pixels in the input tensor cannot be negative.
        only_layer_inputs: Whether only what weighted layers read is quantized, and what is added
            to their results (see ``_layer_inputs``): everything else is computed in float.

    Returns:
        The points in graph order.
    """
    tail = post_processing(graph)
    region = [node for node in graph if node not in tail and node.name not in excluded]
    inside = set(region)
    values: dict[ir.Value, None] = {}
    for node in region:
        for value in (*node.inputs, *node.outputs):
            if value is not None and is_float(value) and _is_activation(value, node):
                values[value] = None
    coordinates = coordinate_values(graph)
    in_float = float_values(region) | masked_values(graph) | attention_logits(region)
    in_float |= {v for v in coordinates if not any(wants_grid(use.node) for use in v.uses())}
    quantized = [v for v in values if v not in in_float and not _is_absorbed(v, inside)]
    wanted = _layer_inputs(region) if only_layer_inputs else set(quantized)
    leader = _shared_grids(region, set(quantized))
    internal = _internal_values(region)
    first_last = _first_last_values(graph, region, internal | (values.keys() - set(quantized)))
    nonnegative = _nonnegative_values(graph, nonnegative_inputs=nonnegative_inputs)
    slightly_negative = _slightly_negative_values(graph, nonnegative)
    deciding = _deciding_values(region)
    groups: dict[ir.Value, list[ir.Value]] = {}
    for value in quantized:
        members = groups.setdefault(_root(leader, value), [])
        if value in wanted:
            members.append(value)
    return [
        QuantizationPoint(
            names=tuple(map(_name, sorted(members, key=lambda v: v is not first))),
            nonnegative=first in nonnegative,
            first_last=any(value in first_last for value in members),
            internal=all(value in internal for value in members),
            joined=_joins(first, wanted),
            slightly_negative=first in slightly_negative,
            squashed_by=_squashed_by(first),
            decides=first in deciding,
        )
        for first, members in groups.items()
        if members
    ]


def _layer_inputs(region: list[ir.Node]) -> set[ir.Value]:
    """What weighted layers read, and of every sum with the result of a layer the other operand.

    So the sum can be computed with the layer: TensorRT's advice for the shortcuts of residual
    blocks. Of two layers the first one's result is quantized.
    """
    layers = [node for node in region if is_weighted(node)]
    found = {value for node in layers for value in node.inputs[:2] if value is not None}
    results = {output for node in layers for output in node.outputs}
    for node in region:
        operands = [v for v in node.inputs if v is not None and constant(v) is None]
        of_layers = [v for v in operands if v in results]
        if node.op_type == "Add" and len(operands) == 2 and of_layers:
            others = [v for v in operands if v not in results] or of_layers
            found.add(others[0])
    return found


def _is_activation(value: ir.Value, node: ir.Node) -> bool:
    """Whether the value is data, not a parameter such as the roi of a Resize."""
    if constant(value) is not None:
        return False
    return not (node.op_type == "Resize" and value in node.inputs[1:])


def _is_absorbed(value: ir.Value, inside: set[ir.Node]) -> bool:
    reader = sole_consumer(value)
    if reader is None or reader not in inside or value.producer() not in inside:
        return False
    if least_of_minimum(reader)[0] is value:
        return _is_absorbed(reader.outputs[0], inside)
    return absorbs_negative(reader) and reader.inputs[0] is value


def _shared_grids(region: list[ir.Node], quantized: set[ir.Value]) -> dict[ir.Value, ir.Value]:
    """For each tensor the one it takes its values from, where one grid serves both."""
    leader: dict[ir.Value, ir.Value] = {}
    for node in region:
        source = node.inputs[0] if node.inputs else None
        if node.op_type not in SAME_GRID or source not in quantized or source is None:
            continue
        mode = node.attributes.get("mode")
        if node.op_type == "Resize" and mode is not None and mode.as_string() == "cubic":
            continue  # a cubic interpolation overshoots
        for output in node.outputs:
            if output in quantized:
                leader[output] = source
    return leader


def _squashed_by(value: ir.Value) -> Literal["", "Sigmoid", "Softmax"]:
    if _ends_in(value, "Sigmoid"):
        return "Sigmoid"
    return "Softmax" if _ends_in(value, "Softmax") else ""


def _deciding_values(region: list[ir.Node]) -> set[ir.Value]:
    """A Softmax over many values and what it is computed from, back to the layers before it.

    A logit that is cut off by 1 loses two thirds of its share, and the others gain it.
    """
    found: set[ir.Value] = set()
    handing_on = SAME_GRID | {"Add", "Clip", "Concat", "Relu", "Sum"}
    for node in reversed(region):
        hands_on = node.op_type in handing_on and any(v in found for v in node.outputs)
        if is_wide_softmax(node) or hands_on:
            found.update(value for value in node.inputs if value is not None)
        if is_wide_softmax(node):
            found.update(node.outputs)
    return found


def _ends_in(value: ir.Value, op_type: str) -> bool:
    """Whether every way from the value leads into the operator, through layout operators alone."""
    if value.is_graph_output() or not value.uses():
        return False
    return all(
        use.node.op_type == op_type
        or (
            use.node.op_type in (SELECTING | {"Concat"})
            and all(_ends_in(v, op_type) for v in use.node.outputs)
        )
        for use in value.uses()
    )


def _root(leader: dict[ir.Value, ir.Value], value: ir.Value) -> ir.Value:
    while value in leader:
        value = leader[value]
    return value


def _first_last_values(
    graph: ir.Graph, region: list[ir.Node], passing: Collection[ir.Value]
) -> set[ir.Value]:
    """Inputs and outputs of the first layers, inputs of the last ones and everything behind those.

    The output of a first layer is the tensor behind its activation function: ``passing`` are those
    that stand before or inside of one.
    """
    first = first_layers(graph)
    inputs = [node.inputs[0] for node in (*first, *last_layers(graph))]
    first_last = {value for value in inputs if value is not None}
    waiting = [output for node in first for output in node.outputs]
    while waiting:
        value = waiting.pop()
        first_last.add(value)
        if value in passing:
            waiting += [output for use in value.uses() for output in use.node.outputs]
    after = after_last_layers(graph)
    first_last.update(output for node in region if node in after for output in node.outputs)
    return first_last


def _internal_values(region: list[ir.Node]) -> set[ir.Value]:
    """Inputs that only an activation function f reads, and f(x) inside of x·f(x).

    So is the result where only a product with positive constants reads it, as ``EqualizeChannels``
    inserts it: what the constants make of it is the tensor that counts.
    """
    found: set[ir.Value] = set()
    for node in region:
        x, y = node.inputs[0] if node.inputs else None, node.outputs[0]
        if node.op_type not in ACTIVATIONS or x is None:
            continue
        gate = sole_consumer(y)
        gated = gate is not None and gate.op_type == "Mul" and set(gate.inputs) == {x, y}
        if gated:
            found.add(y)
        readers = {use.node for use in x.uses()} - {node} - ({gate} if gated else set())
        if not readers and not x.is_graph_output() and not x.is_graph_input():
            found.add(x)
        result = gate.outputs[0] if gated and gate is not None else y
        scale = sole_consumer(result)
        if scale is not None and _before_scale(scale.outputs[0]) is result:
            found.add(result)
    return found


def _before_scale(value: ir.Value) -> ir.Value:
    """What a product with positive constants scales; the value itself where there is none."""
    node = value.producer()
    if node is None or node.op_type != "Mul" or node.domain != "" or len(node.inputs) != 2:
        return value
    source, factors = node.inputs[0], constant(node.inputs[1])
    if source is None or factors is None or not np.all(factors > 0):
        return value
    return source


def _nonnegative_values(graph: ir.Graph, *, nonnegative_inputs: bool) -> set[ir.Value]:
    found = set(graph.inputs[:1]) if nonnegative_inputs else set()

    def holds(value: ir.Value | None) -> bool:
        if value is None or value in found:
            return True
        array = constant(value)
        return array is not None and bool(np.all(array >= 0))

    for node in graph:
        data = node.inputs if node.op_type in ("Add", "Concat", "Mul", "Sum") else node.inputs[:1]
        if (
            node.op_type in NONNEGATIVE
            or absorbs_negative(node)
            or (node.op_type in KEEPS_SIGN and all(holds(value) for value in data))
        ):
            found.update(node.outputs)
    return found


def _slightly_negative_values(graph: ir.Graph, nonnegative: set[ir.Value]) -> set[ir.Value]:
    found: set[ir.Value] = set()
    for node in graph:
        if (
            node.op_type in SLIGHTLY_NEGATIVE
            or is_silu(node)
            or _before_scale(node.outputs[0]) in found
        ):
            found.update(node.outputs)
        elif node.op_type in KEEPS_SIGN - {"Mul"}:
            several = node.op_type in ("Add", "Concat", "Sum")
            data = [v for v in (node.inputs if several else node.inputs[:1]) if v is not None]
            if all(v in found or v in nonnegative for v in data) and any(v in found for v in data):
                found.update(node.outputs)
    return found


def _joins(value: ir.Value, quantized: set[ir.Value]) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "Concat" and set(node.inputs) <= quantized


def _name(value: ir.Value) -> str:
    assert value.name is not None  # model_io names every value
    return value.name
