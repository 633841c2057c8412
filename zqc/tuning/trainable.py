"""A quantized model as a float graph whose weights and biases are inputs that can be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.arithmetic import integer_range
from passes.graph import constant, int_attribute, name_of, scalar
from passes.layers import along
from passes.operators import WEIGHTED
from passes.qdq import integer_ends, integers_of
from zqc.autodiff.emitter import Emitter, float_input
from zqc.tuning.levels import Levels


@dataclass(frozen=True)
class Parameter:
    """What is trained of one weight or one bias.

    Attributes:
        stored: Name of the initializer of the quantized model that holds its integers.
        layers: Names of the layers that read it.
        value: The input of the graph: the integers of a weight, in steps and not yet rounded; of
            a bias what is added to it, in units.
        start: What the input begins with, float32.
        origin: What a bias is before anything is added, in steps; None for a weight.
        unit: Steps of a unit, broadcastable to ``start``; ones for a weight.
        bounds: The least and the largest integer.
        levels: What the integers of a weight can be, where not all between these bounds.
    """

    stored: str
    layers: tuple[str, ...]
    value: ir.Value
    start: NDArray[np.float32]
    origin: NDArray[np.float64] | None
    unit: NDArray[np.float64]
    bounds: tuple[int, int]
    levels: Levels | None = None

    @property
    def is_bias(self) -> bool:
        """Whether it is a bias."""
        return self.origin is not None

    def integers(self, trained: NDArray[np.float32]) -> NDArray[np.float64]:
        """The integers that are nearest to what training has ended with."""
        steps = trained.astype(np.float64)
        if self.origin is not None:
            steps = self.origin + self.unit * steps
        if self.levels is not None:
            return self.levels.nearest(steps)
        return np.clip(np.rint(steps), *self.bounds)


@dataclass(frozen=True)
class Trainable:
    """A model that computes what a quantized one computes, in float, and its parameters.

    Attributes:
        model: The model.
        parameters: Its inputs behind those of the quantized model.
        tensors: What a quantized tensor has become, by the name that it has in the float model.
    """

    model: ir.Model
    parameters: tuple[Parameter, ...]
    tensors: Mapping[str, ir.Value]


def trainable(
    quantized: ir.Model, bits_of: Mapping[str, int], deviations: Mapping[str, float]
) -> Trainable:
    """Write a canonical quantized model so that a gradient goes through its roundings.

    1. QuantizeLinear → DequantizeLinear of a tensor, with scale Δ and zero point z, becomes
       Δ·clip(round(x/Δ), q_min − z, q_max − z), the same up to ties. Its gradient is that of the
       clip: straight through the rounding (Bengio et al., arXiv 1308.3432).
    2. The integers of a weight become clip(round(w), q_min, q_max) of an input w.
    3. Biases become b + u·v of an input v, u a unit; they are rounded at the end alone, as their
       steps are those of the products they are added to, 2⁻⁸ of an activation's and less.
    4. Every other constant behind DequantizeLinear becomes a float constant.

    Args:
        quantized: The model; it is not changed.
        bits_of: Bits of the weights that are trained, by the name of their layer.
        deviations: By name of a layer, what its outputs deviate by: the unit of its bias.
    """
    model = quantized.clone()
    graph = model.graph
    emitter = Emitter(graph)
    parameters: list[Parameter] = []
    for nodes in _stored(graph):
        parameters += _opened(emitter, nodes, bits_of, deviations)
    tensors = {}
    for node in list(graph):
        if node.op_type == "QuantizeLinear":
            tensors.update(_straightened(emitter, node))
    graph.inputs.extend(parameter.value for parameter in parameters)
    graph.sort()
    return Trainable(model, tuple(parameters), tensors)


def with_integers(
    quantized: ir.Model,
    parameters: tuple[Parameter, ...],
    trained: Mapping[str, NDArray[np.float32]],
) -> ir.Model:
    """Return the quantized model with what training has ended with.

    Args:
        quantized: The model that ``trainable`` was given; it is not changed.
        parameters: Its parameters.
        trained: What each input has become, by its name.
    """
    model = quantized.clone()
    for parameter in parameters:
        value = model.graph.initializers[parameter.stored]
        kind = value.dtype or ir.DataType.INT8
        integers = parameter.integers(trained[name_of(parameter.value)])
        shaped = integers.reshape(() if value.shape is None else value.shape.numpy())
        value.const_value = ir.tensor(shaped.astype(kind.numpy()), dtype=kind, name=value.name)
    return model


def _stored(graph: ir.Graph) -> list[list[ir.Node]]:
    """The DequantizeLinear nodes of constants, those together that read the same integers.

    Layers that share a weight have one each. It is one parameter.
    """
    found: dict[tuple[str, ...], list[ir.Node]] = {}
    for node in graph:
        if node.op_type == "DequantizeLinear" and constant(node.inputs[0]) is not None:
            key = tuple(name_of(value) for value in node.inputs if value is not None)
            found.setdefault(key, []).append(node)
    return list(found.values())


def _opened(
    emitter: Emitter,
    nodes: Sequence[ir.Node],
    bits_of: Mapping[str, int],
    deviations: Mapping[str, float],
) -> list[Parameter]:
    """Replace a constant behind DequantizeLinear; a list of one parameter, or of none."""
    node, stored = nodes[0], name_of(nodes[0].inputs[0])
    integers = np.asarray(constant(node.inputs[0]), np.float64)
    zeros = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    shifted = zeros is not None and bool(np.any(zeros.astype(np.int64)))
    if shifted:
        integers = integers - _along(node, zeros, integers.ndim)
    scale = _along(node, constant(node.inputs[1]), integers.ndim)
    uses = [use for each in nodes for use in each.outputs[0].uses()]
    readers = tuple(use.node.name or "" for use in uses)
    places = {(use.node.op_type, use.idx) for use in uses}
    parameter: Parameter | None = None
    if not readers or shifted:
        pass
    elif places <= {(operator, 1) for operator in WEIGHTED} and readers[0] in bits_of:
        bits = bits_of[readers[0]]
        levels = Levels.of(integers, int_attribute(node, "axis", 1) % integers.ndim, bits)
        value, result = _weight(emitter, stored, integers, scale, bits, levels)
        start, bounds = integers.astype(np.float32), integer_range(bits=bits, signed=True)
        if levels is not None:
            start /= levels.stretch
        parameter = Parameter(stored, readers, value, start, None, np.ones(()), bounds, levels)
    elif places <= {(operator, 2) for operator in WEIGHTED} and readers[0] in deviations:
        unit = deviations[readers[0]] / scale
        value, result = _bias(emitter, stored, integers * scale, deviations[readers[0]])
        start, bounds = np.zeros(integers.shape, np.float32), integer_range(bits=32, signed=True)
        parameter = Parameter(stored, readers, value, start, integers, unit, bounds)
    if parameter is None:
        exact = np.asarray(integers * scale, np.float32)
        result = emitter.named(emitter.array(exact, f"{stored}_float"), f"{stored}_float")
    result.shape = ir.Shape(integers.shape)
    for each in nodes:
        ir.convenience.replace_all_uses_with(each.outputs[0], result)
    return [] if parameter is None else [parameter]


def _weight(
    emitter: Emitter,
    name: str,
    integers: NDArray[np.float64],
    scale: NDArray[np.float64],
    bits: int,
    levels: Levels | None,
) -> tuple[ir.Value, ir.Value]:
    """An input for the steps of a weight, and the rounded weight."""
    value = float_input(f"{name}_steps", integers.shape)
    if levels is not None:
        level = levels.emit(emitter, value, name)
        return value, emitter.op("Mul", [level, scale.astype(np.float32)], {}, name)
    low, high = integer_range(bits=bits, signed=True)
    rounded = emitter.op("Round", [value], {}, name)
    clipped = emitter.op("Clip", [rounded, float(low), float(high)], {}, name)
    return value, emitter.op("Mul", [clipped, scale.astype(np.float32)], {}, name)


def _bias(
    emitter: Emitter, name: str, bias: NDArray[np.float64], deviation: float
) -> tuple[ir.Value, ir.Value]:
    """An input for what is added to a bias, and the sum."""
    value = float_input(f"{name}_added", bias.shape)
    added = emitter.op("Mul", [value, float(deviation)], {}, name)
    return value, emitter.op("Add", [added, bias.astype(np.float32)], {}, name)


def _straightened(emitter: Emitter, node: ir.Node) -> dict[str, ir.Value]:
    """Replace the pair of a tensor; what it has become by the tensor's name in the float model.

    Nothing where the integers are read by anything else than DequantizeLinear.
    """
    source, scale, integers = node.inputs[0], scalar(node.inputs[1]), integers_of(node)
    behind = [use.node for use in integers.uses()]
    if source is None or scale is None or any(n.op_type != "DequantizeLinear" for n in behind):
        return {}
    zero = scalar(node.inputs[2]) if len(node.inputs) > 2 else 0.0
    low, high = (float(end - (zero or 0)) for end in integer_ends(integers))
    name = name_of(source)
    steps = emitter.op("Mul", [source, 1 / scale], {}, name)
    rounded = emitter.op("Round", [steps], {}, name)
    clipped = emitter.op("Clip", [rounded, low, high], {}, name)
    result = emitter.op("Mul", [clipped, scale], {}, name)
    result.shape = source.shape
    found = {}
    for pair in behind:
        output = pair.outputs[0]
        found[name_of(output) if output.is_graph_output() else name] = result
        ir.convenience.replace_all_uses_with(output, result, replace_graph_outputs=True)
    return found


def _along(node: ir.Node, values: NDArray[np.generic] | None, rank: int) -> NDArray[np.float64]:
    """Scales or zero points of a DequantizeLinear, broadcastable to what it reads."""
    array = np.asarray(values, np.float64)
    if array.ndim == 0:
        return array
    return np.asarray(along(int_attribute(node, "axis", 1) % rank, array, rank))
