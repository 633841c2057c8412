"""A float model with one layer of a quantized one in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.arithmetic import fake_quantize, scales, weight_exponents
from passes.graph import Namer, add_initializer, name_of, remove_unused
from passes.layers import along, layer_of
from zqc.calibration.distances import identity, sigmoid, softplus
from zqc.diagnosis.counterparts import Match
from zqc.diagnosis.quantized_model import Rounding
from zqc.diagnosis.regions import own_values

_EXPONENTS = 12
"""Thresholds that are tried, each half the one before."""

_BIT_LIMIT = 16

SeenThrough = Callable[[NDArray[np.floating]], NDArray[np.floating]]

_SEEN_THROUGH: Mapping[str, SeenThrough] = {"Sigmoid": sigmoid, "Softmax": softplus}

_GATED = frozenset({"Sigmoid", "HardSigmoid", "HardSwish", "Gelu", "Erf", "Swish", "Tanh", "Mish"})
"""Functions that leave next to nothing of what is far below zero."""


@dataclass(frozen=True)
class Placed:
    """A rounding in the float model.

    Attributes:
        tensor: Name of the tensor that goes through it.
        rounding: The rounding, in the units of the float model.
        reads_only: Name of the one layer that reads the result; None for all readers.
        seen_through: The function through which its errors count.
    """

    tensor: str
    rounding: Rounding
    reads_only: str | None = None
    seen_through: SeenThrough = identity


def silu(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """x·σ(x): what is left of a value before SiLU, and nearly so before HardSwish, GELU, Mish."""
    return x * sigmoid(x)


def placed(
    match: Match,
    owned: Sequence[Rounding],
    source: Rounding | None,
    squashed: Mapping[str, str],
) -> tuple[Placed, ...]:
    """Find where in the float model the roundings of a layer stand.

    Args:
        match: The layer.
        owned: The roundings of its output.
        source: The rounding of its input, if no other layer has it.
        squashed: By name of a tensor, ``Sigmoid`` or ``Softmax`` where nothing else reads it.
    """
    values = own_values(match.layer.node)
    paths = _paths(match.layer.node, values)
    last = max((len(rounding.path) for rounding in owned), default=0)
    found = []
    for rounding in owned:
        # An activation function that is written in another way has its output in common.
        other = name_of(values[-1]) if len(rounding.path) == last else None
        tensor = paths.get(_plain(rounding.path), other)
        if tensor is not None:
            through = _SEEN_THROUGH.get(squashed.get(tensor, ""), identity)
            ops = {value.producer().op_type for value in values}  # type: ignore[union-attr]
            if len(rounding.path) < last and ops & _GATED:
                through = silu
            found.append(Placed(tensor, _in_units(rounding, match.factors), None, through))
    if source is not None:
        name = name_of(match.layer.node.inputs[0])
        found.append(Placed(name, source, match.layer.node.name))
    return tuple(found)


def with_layer(
    model: ir.Model,
    name: str,
    weight: NDArray[np.floating],
    bias: NDArray[np.floating] | None,
    roundings: Sequence[Placed],
) -> ir.Model:
    """Return a float model in which one layer has other weights, and some tensors are rounded."""
    copy = model.clone()
    graph = copy.graph
    namer = Namer(graph)
    node = next(node for node in graph if node.name == name)
    layer = layer_of(node)
    assert layer is not None  # it was one when it was matched
    layer.set_weight(weight, namer)
    if bias is not None:
        layer.set_bias(bias, namer)
    for each in roundings:
        _round(graph, each, namer)
    return copy


def best_weight(match: Match) -> NDArray[np.float64]:
    """The float weights, rounded as well as the bits and scales of the counterpart allow."""
    bits = match.quantized.bits
    weight = match.layer.weight
    if bits > _BIT_LIMIT // 2:
        return np.asarray(weight, np.float64)
    axis = match.layer.output_axis
    channels = np.moveaxis(weight, axis, 0)
    if match.quantized.per_tensor:
        channels = channels.reshape(1, -1)
    exponents = weight_exponents(channels, bits=bits, axis=0)
    step = along(axis, scales(exponents, bits=bits, signed=True), weight.ndim)
    return np.asarray(fake_quantize(weight.astype(np.float64), step, bits=bits, signed=True))


def best_rounding(
    rounding: Rounding, values: NDArray[np.floating], seen_through: SeenThrough = identity
) -> Rounding:
    """The same rounding with the step and the zero point that suit values best.

    The steps that are tried are that which does not clip, halved again and again.
    """
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    levels = rounding.high - rounding.low
    whole = max(high - low, 1e-12) / levels
    exact = np.asarray(values, np.float64)
    best, least = rounding, np.inf
    for step in (whole / 2**halvings for halvings in range(_EXPONENTS)):
        # Cut off is what is above, what is below, or a share of both.
        zeros = (rounding.low - low / step, rounding.high - high / step, rounding.low - low / whole)
        for zero in {int(np.clip(np.rint(z), rounding.low, rounding.high)) for z in zeros}:
            steps, zero_points = np.array([step]), np.array([float(zero)])
            tried = replace(
                rounding, step=steps, zero=zero_points, step_back=steps, zero_back=zero_points
            )
            error = float(np.sum((seen_through(tried.nearest(exact)) - seen_through(exact)) ** 2))
            if error < least:
                best, least = tried, error
    return best


def _in_units(rounding: Rounding, factors: NDArray[np.float64]) -> Rounding:
    """A rounding of a tensor whose channels are ``factors`` times as large, of the plain tensor."""
    if np.all(factors == 1):
        return rounding
    wide = np.ones(len(factors))
    return replace(
        rounding,
        step=rounding.step * wide / factors,
        step_back=rounding.step_back * wide / factors,
        zero=rounding.zero * wide,
        zero_back=rounding.zero_back * wide,
    )


def _paths(layer: ir.Node, values: Sequence[ir.Value]) -> dict[tuple[str, ...], str]:
    """Names of a layer's own values by the types of the operators before them."""
    found: dict[tuple[str, ...], str] = {}
    known: dict[ir.Value, tuple[str, ...]] = {layer.outputs[0]: ()}
    for value in values:
        node = value.producer()
        if node is not None and node is not layer:
            before = [known[v] for v in node.inputs if v is not None and v in known]
            known[value] = (*max(before, key=len, default=()), node.op_type)
        found[_plain(known[value])] = name_of(value)  # behind what the grid may stand for
    return found


def _plain(path: Sequence[str]) -> tuple[str, ...]:
    """A path without what a grid can stand for."""
    return tuple(op for op in path if op not in ("Relu", "Clip", "Min", "Max"))


def _round(graph: ir.Graph, each: Placed, name: Namer) -> None:
    values = {name_of(v): v for v in graph.inputs}
    values.update({name_of(v): v for node in graph for v in node.outputs})
    value = values[each.tensor]
    rounding = each.rounding

    def number(array: NDArray[np.float64] | float, what: str) -> ir.Value:
        vector = np.asarray(array, np.float32).reshape(-1)
        rank = len(value.shape) if value.shape is not None else 4
        shaped = vector.reshape(1, -1, *[1] * (rank - 2)) if vector.size > 1 else vector.reshape(())
        return add_initializer(graph, name(f"{each.tensor}_{what}"), shaped)

    steps: tuple[tuple[str, tuple[ir.Value, ...]], ...] = (
        ("Div", (number(rounding.step, "step"),)),
        ("Round", ()),
        ("Add", (number(rounding.zero, "zero"),)),
        ("Clip", (number(rounding.low, "low"), number(rounding.high, "high"))),
        ("Sub", (number(rounding.zero_back, "zero_back"),)),
        ("Mul", (number(rounding.step_back, "step_back"),)),
    )
    uses = [u for u in value.uses() if each.reads_only in (None, u.node.name)]
    is_output = value.is_graph_output() and each.reads_only is None
    result, nodes = value, []
    for op_type, constants in steps:
        node = ir.node(op_type, [result, *constants], name=name(f"{each.tensor}_{op_type.lower()}"))
        result = node.outputs[0]
        result.name, result.type, result.shape = node.name, value.type, value.shape
        nodes.append(node)
    for use in uses:
        use.node.replace_input_with(use.idx, result)
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], nodes)
    else:
        graph.insert_after(producer, nodes)
    if is_output:
        for index, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[index] = result
        stem = value.name
        value.name = name(f"{stem}_float")
        result.name = stem


def behind_heads(model: ir.Model, heads: Collection[str]) -> ir.Model:
    """What a float model computes from the outputs of its last layers: these are inputs, too."""
    copy = model.clone()
    values = {name_of(v): v for node in copy.graph for v in node.outputs}
    for head in sorted(heads):
        value = values[head]
        new = ir.Value(name=f"{head}_given", type=value.type, shape=value.shape)
        outputs = copy.graph.outputs
        for use in list(value.uses()):
            use.node.replace_input_with(use.idx, new)
        for index, output in enumerate(outputs):
            if output is value:
                same = ir.node("Identity", [new], name=f"{head}_same")
                same.outputs[0].type, same.outputs[0].shape = value.type, value.shape
                copy.graph.append(same)
                outputs[index] = same.outputs[0]
                value.name = f"{head}_own"
                same.outputs[0].name = head
        copy.graph.inputs.append(new)
    remove_unused(copy)
    return copy
