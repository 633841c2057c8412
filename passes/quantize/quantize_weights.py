"""Integer weights and biases behind DequantizeLinear."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.log_affine import LEVEL_BITS, WIDTHS, best_levels, least_weights, level_sets
from passes.analysis.topology import first_last_layers, weighted_layers
from passes.arithmetic import MIN_EXPONENT, scales, weight_exponents
from passes.graph import (
    Namer,
    add_initializer,
    name_of,
    producer_of,
)
from passes.layers import Layer, along, by_weight
from passes.qdq import dequantized_scale
from passes.quantize.rounding import Compensation, on_grid

logger = logging.getLogger(__name__)

Floats = NDArray[np.floating]

_TYPES = dict.fromkeys((2, 3, 4), ir.DataType.INT4) | dict.fromkeys((5, 6, 7, 8), ir.DataType.INT8)
"""What integers of so many bits are stored in."""

_BIAS_LIMIT = float(2**30)
"""Half of the INT32 range: the other half is room for the sum of products."""

_NEIGHBOURS = (-1, 1)
"""Exponents that are tried around the one of least squared error, see ``QuantizeWeights``: with
compensation, a range that clips a few weights or a coarser step may leave the output nearer. Our
choice, see docs/methods.md."""

_EVERY_BIT = 8
"""Bits with which another threshold changes next to nothing."""


@dataclass(frozen=True)
class QuantizeWeights(ir.passes.InPlacePass):
    """Quantize the constants of every layer whose input is quantized. Lossy.

    1. Weights: per output channel, symmetric, power-of-two thresholds of least squared error;
       an error of at most Δ/2 per weight inside the threshold. Operators of ``per_tensor`` have
       one threshold for all channels, written as a list of equal scales. So has a MatMul whose
       weight is a vector or a stack of matrices, written as one number: no kernel has steps for
       the columns of those. Where the second moments M of the layer's input are known, the
       rounding can minimise the error of the output, see ``passes.quantize.rounding``: below 8
       bits, the threshold of each channel is that of the least such error among the one of least
       squared error, half of it and twice it. And the weights w of a channel can be enlarged by
       √(wᵀMw / ŵᵀMŵ) and rounded again, so that the output keeps its second moment.
    2. Biases: INT32 with the scale s_x·s_w of the products they are added to. Where a bias would
       not fit, the threshold of its channel is raised until it does.
    3. Bias correction, where the mean μ of the input is known per channel: the rounding error of
       the weights shifts the mean of the output by ε = Σ (Q(W) − W)·μ, and b' = b − ε undoes it
       (HPTQ, arXiv 2109.09113); a layer without a bias gets one. Not for MatMul.
    4. A weight that several layers read, such as the levels of a pyramid: rounded once and stored
       once, with the most bits of its readers, the mean of their second moments and room for each
       of their biases. A bias is of one layer.
    5. Declined: a layer whose input is float, whose weight is computed (attention), or that is
       named in ``excluded``; the bias of a Gemm with α or β other than 1 stays float.

    Attributes:
        bits: Bits of the weights, 2 to 8.
        first_last_bits: Bits of the weights of the first and the last layers.
        bits_of: Bits of single layers by name, whatever ``bits`` and ``first_last_bits`` say.
        excluded: Names of nodes that stay float.
        input_means: Mean per channel, shape (C_in,), of tensors by their name before quantization.
        input_moments: By name of the layer, E[x xᵀ] of the columns that its weights are multiplied
            with, shape (groups, blocks, K, K): block by block of the flattened weight.
        compensate: Whether weights are rounded so that their errors compensate each other.
        second_moments: Whether the second moment of every output channel is corrected.
        per_tensor: Operator types whose weights have one threshold instead of one per channel.
        int4: Whether up to 4 bits are stored in INT4; more are in INT8 anyway.
        log_affine: Whether weights of 3 and 4 bits have levels that are closer near zero, see
            ``passes.analysis.log_affine``, in INT8.
    """

    bits: int = 8
    first_last_bits: int = 8
    bits_of: Mapping[str, int] = field(default_factory=dict)
    excluded: Collection[str] = ()
    input_means: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    input_moments: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    compensate: bool = True
    second_moments: bool = False
    per_tensor: Collection[str] = ()
    int4: bool = True
    log_affine: bool = False

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Quantize layer by layer."""
        graph = model.graph
        name = Namer(graph)
        first_last = first_last_layers(graph)
        modified = False
        steps: dict[ir.Node, float] = {}
        for node in weighted_layers(graph):
            step = dequantized_scale(node.inputs[0])
            if step is None or node.name in self.excluded:
                logger.debug("%s keeps float weights", node.name)
            else:
                steps[node] = step
        for layers in by_weight(steps):
            bits = max(self._bits(layer.node, first_last) for layer in layers)
            readers = [(layer, steps[layer.node]) for layer in layers]
            names = [layer.node.name or "" for layer in layers]
            per_tensor = layers[0].node.op_type in self.per_tensor
            integers, scale = rounded_weight(
                readers,
                layers[0].weight,
                bits=bits,
                moments=_mean([self.input_moments[n] for n in names if n in self.input_moments]),
                compensate=self.compensate,
                second_moments=self.second_moments,
                per_tensor=per_tensor,
                log_affine=self.log_affine,
            )
            coded = self.log_affine and has_levels(layers[0], bits, per_tensor=per_tensor)
            kind = _TYPES[bits] if self.int4 and not coded else ir.DataType.INT8
            means = [self.input_means.get(_quantized_name(x.node.inputs[0])) for x in layers]
            _write_layers(graph, readers, integers, scale, kind, means, name)
            modified = True
        return ir.passes.PassResult(model, modified)

    def _bits(self, node: ir.Node, first_last: Collection[ir.Node]) -> int:
        default = self.first_last_bits if node in first_last else self.bits
        return self.bits_of.get(node.name or "", default)


def rounded_weight(
    readers: Sequence[tuple[Layer, float]],
    weight: NDArray[np.floating],
    *,
    bits: int,
    moments: NDArray[np.float64] | None = None,
    compensate: bool = True,
    second_moments: bool = False,
    per_tensor: bool = False,
    log_affine: bool = False,
    neighbours: bool = True,
) -> tuple[NDArray[np.floating], NDArray[np.float32]]:
    """Return what a weight becomes: case 1 of ``QuantizeWeights``, and the limit of case 2.

    Args:
        readers: The layers that read it, at least one, each with the step of its input, which the
            step of its bias follows from.
        weight: What the weight should be, in the shape that it has.
        bits: Bits of the integers, 2 to 8.
        moments: Second moments of the input, (groups, blocks, K, K); None where unknown.
        compensate: Whether errors compensate each other, where the moments are known.
        second_moments: Whether the second moment of the output is corrected, likewise.
        per_tensor: Whether all channels have the same step.
        log_affine: Whether layers that can have them get levels.
        neighbours: Whether other thresholds than those of the least squared error are tried, too,
            where errors compensate each other; it takes three times as long.

    Returns:
        The integers in the shape of the weight, in floating point, and the step of each channel
        along its ``output_axis``.
    """
    axis = readers[0][0].output_axis
    per_tensor = per_tensor or _is_no_matrix(readers[0][0])
    several = neighbours and moments is not None and compensate
    several = several and bits < _EVERY_BIT and not per_tensor
    if log_affine and has_levels(readers[0][0], bits, per_tensor=per_tensor):
        tried = _log_affine_grids(readers, weight, bits, 1 + len(_NEIGHBOURS) * several)
    else:
        tried = _uniform_grids(readers, weight, bits, several=several, per_tensor=per_tensor)
    compensation = None if moments is None or not compensate else Compensation.of(moments)

    def rounded(w: NDArray[np.floating], every: Sequence[_Grid]) -> tuple[Floats, _Grid]:
        if compensation is not None:
            return _nearest_output(compensation, w, every, axis=axis, bits=bits)
        last = np.moveaxis(w, axis, -1)
        return np.moveaxis(every[0].nearest(last, bits), -1, axis), every[0]

    integers, grid = rounded(weight, tried)
    if moments is not None and second_moments:
        steps = along(axis, grid.scale, weight.ndim)
        before, after = (_energy(w, moments, axis) for w in (weight, integers * steps))
        factor = np.sqrt(np.divide(before, after, out=np.ones_like(before), where=after > 0))
        integers, _ = rounded(weight * along(axis, factor, weight.ndim), [grid])
    return integers, grid.scale


def has_levels(layer: Layer, bits: int, *, per_tensor: bool = False) -> bool:
    """Whether the weights of a layer can have levels, see ``passes.analysis.log_affine``."""
    axis, weight = layer.output_axis, layer.weight
    if bits not in WIDTHS or per_tensor or not (axis == 0 or weight.ndim == 2):
        return False
    return bool(weight.size // weight.shape[axis] >= least_weights(bits))


@dataclass(frozen=True)
class _Grid:
    """What the weights of every channel can be: integers times a step.

    Attributes:
        scale: The steps, (channels,).
        levels: The integers of each channel, rising, (channels, levels); None for all of a signed
            grid.
    """

    scale: NDArray[np.float32]
    levels: Floats | None = None

    def nearest(self, weight: NDArray[np.floating], bits: int) -> NDArray[np.floating]:
        """The nearest integers of weights, (…, channels), with so many bits."""
        return on_grid(weight, self.scale, bits, self.levels)

    def where(self, better: NDArray[np.bool_], other: _Grid) -> _Grid:
        """This one in some channels, (channels,), and another of the kind in the rest."""
        scale = np.where(better, self.scale, other.scale)
        if self.levels is None or other.levels is None:
            return _Grid(scale)
        return _Grid(scale, np.where(better[:, np.newaxis], self.levels, other.levels))


def _uniform_grids(
    readers: Sequence[tuple[Layer, float]],
    weight: NDArray[np.floating],
    bits: int,
    *,
    several: bool,
    per_tensor: bool,
) -> list[_Grid]:
    """The grids of least squared error, and with ``several`` their neighbours."""
    axis = readers[0][0].output_axis
    whole = weight[np.newaxis] if per_tensor else weight
    exponents = weight_exponents(whole, bits=bits, axis=0 if per_tensor else axis)
    exponents = np.broadcast_to(exponents, weight.shape[axis])
    least = _exponents_for_biases(readers, bits, len(exponents))
    exponents = np.maximum(exponents, least)
    if per_tensor:
        exponents = np.full_like(exponents, exponents.max())
    tried = [exponents]
    if several:
        tried += [np.maximum(exponents + change, least) for change in _NEIGHBOURS]
    return [_Grid(scales(each, bits=bits, signed=True)) for each in tried]


def _log_affine_grids(
    readers: Sequence[tuple[Layer, float]], weight: NDArray[np.floating], bits: int, count: int
) -> list[_Grid]:
    """So many grids of levels, those of the least squared error first."""
    moved = np.moveaxis(weight, readers[0][0].output_axis, 0)
    rows = moved.reshape(len(moved), -1)
    least = _exponents_for_biases(readers, LEVEL_BITS, len(rows))
    found = zip(*best_levels(rows, bits, least, count), strict=True)
    sets = level_sets(bits).astype(np.float64)
    return [_Grid(scales(each, bits=LEVEL_BITS, signed=True), sets[of]) for each, of in found]


def _write_layers(
    graph: ir.Graph,
    readers: Sequence[tuple[Layer, float]],
    integers: NDArray[np.floating],
    scale: NDArray[np.float32],
    kind: ir.DataType,
    means: Sequence[NDArray[np.float64] | None],
    name: Namer,
) -> None:
    """Put the integers behind a DequantizeLinear per reader, and correct and quantize its bias."""
    first, _ = readers[0]
    weight, axis = first.weight, first.output_axis
    weight_stem = name_of(first.weight_value) or f"{first.node.name}_weight"
    tensor = ir.tensor(integers.astype(kind.numpy()), dtype=kind)
    written = scale[0] if _is_no_matrix(first) else scale
    stored = _stored(graph, tensor, np.asarray(written), weight_stem, name)
    for (layer, input_scale), mean in zip(readers, means, strict=True):
        node, bias = layer.node, layer.bias_vector()
        if bias is not None and mean is not None:
            error = integers * along(axis, scale, weight.ndim) - weight
            bias = bias - layer.mean_shift(error, mean)
        node.replace_input_with(1, _dequantize(graph, node, stored, axis, weight_stem, name))
        if bias is not None and (layer.bias_value is not None or np.any(bias)):
            bias_scale = np.tile(scale * np.float32(input_scale), bias.size // scale.size)
            rounded = ir.tensor(np.rint(bias / bias_scale).astype(np.int32))
            stem = name_of(layer.bias_value) or f"{weight_stem}_bias"
            stored_bias = _stored(graph, rounded, bias_scale, stem, name)
            new_bias = _dequantize(graph, node, stored_bias, 0, stem, name)
            node.resize_inputs(3)
            node.replace_input_with(2, new_bias)


def _is_no_matrix(layer: Layer) -> bool:
    """Whether a MatMul multiplies by a vector, or by a matrix for each picture or head."""
    return layer.node.op_type == "MatMul" and layer.weight.ndim != 2


def _mean(moments: Sequence[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    if len(moments) < 2:
        return moments[0] if moments else None
    return np.asarray(np.mean(moments, axis=0))


def _nearest_output(
    compensation: Compensation,
    weight: NDArray[np.floating],
    every: Sequence[_Grid],
    *,
    axis: int,
    bits: int,
) -> tuple[Floats, _Grid]:
    """Round with the grids that leave each channel the least error of the output.

    Args:
        compensation: Of the input's moments, (groups, blocks, K, K).
        weight: What is rounded.
        every: Grids of all channels to be tried; the first of equals is taken.
        axis: Of the channels.
        bits: Bits of the integers.

    Returns:
        The integers in the shape of the weight, and the grid of each channel.
    """
    rows = _rows(weight, compensation.order.shape, axis)
    groups, channels = rows.shape[:2]
    shape = (groups, 1, channels)
    levels = [each.levels.reshape(*shape, -1) for each in every if each.levels is not None]
    # Rows do not know of each other: those of all grids are rounded at once.
    found = compensation.rounded(
        np.concatenate([rows.swapaxes(1, 2)] * len(every), axis=2),
        np.concatenate([each.scale.reshape(shape) for each in every], axis=2),
        bits=bits,
        levels=np.concatenate(levels, axis=2) if levels else None,
    )
    best, grid = np.zeros_like(rows, np.float64), every[0]
    least = np.full(weight.shape[axis], np.inf)
    for i, each in enumerate(every):
        part = slice(i * channels, (i + 1) * channels)
        errors = found.errors[..., part].sum(axis=1).reshape(-1)
        better = errors < least
        chosen = better.reshape(groups, -1, 1, 1)
        best = np.where(chosen, found.integers[..., part, :].swapaxes(1, 2), best)
        grid, least = each.where(better, grid), np.where(better, errors, least)
    moved = np.moveaxis(weight, axis, 0)
    return np.moveaxis(best.reshape(moved.shape), 0, axis), grid


def _rows(weight: NDArray[np.floating], shape: Sequence[int], axis: int) -> NDArray[np.floating]:
    """The weight as (groups, rows, blocks, K), for moments of shape (groups, blocks, K, …)."""
    groups, blocks, columns = shape[:3]
    return np.moveaxis(weight, axis, 0).reshape(groups, -1, blocks, columns)


def _energy(
    weight: NDArray[np.floating], moments: NDArray[np.float64], axis: int
) -> NDArray[np.float64]:
    """Second moment wᵀMw of every output channel without its bias, shape (channels,)."""
    rows = _rows(weight, moments.shape, axis).astype(np.float64)
    energy: NDArray[np.float64] = np.einsum(
        "grbi,gbij,grbj->gr", rows, moments, rows, optimize=True
    )
    return energy.reshape(-1)


def _exponents_for_biases(
    readers: Sequence[tuple[Layer, float]], bits: int, channels: int
) -> NDArray[np.int64]:
    """Smallest threshold exponent of each weight channel with which all biases fit in INT32."""
    least = np.full(channels, MIN_EXPONENT, np.int64)
    for layer, input_scale in readers:
        bias = layer.bias_vector()
        if bias is not None:
            least = np.maximum(least, _exponents_for(bias, input_scale, bits, channels))
    return least


def _exponents_for(
    bias: NDArray[np.float64], input_scale: float, bits: int, channels: int
) -> NDArray[np.int64]:
    """The same for one bias."""
    # The channels of a grouped ConvTranspose share scales: bias c belongs to scale c mod (C/g).
    largest = np.abs(bias).reshape(-1, channels).max(axis=0)
    smallest_scale = np.maximum(largest / (input_scale * _BIAS_LIMIT), np.finfo(np.float64).tiny)
    exponents: NDArray[np.int64] = np.ceil(np.log2(smallest_scale)).astype(np.int64) + bits - 1
    return exponents


def _quantized_name(value: ir.Value | None) -> str:
    """Name of the tensor that a dequantized value was before it was quantized."""
    for _ in range(2):
        node = producer_of(value)
        value = node.inputs[0] if node is not None else None
    return "" if value is None or value.name is None else value.name


def _stored(
    graph: ir.Graph,
    integers: ir.TensorProtocol,
    scale: NDArray[np.float32],
    stem: str,
    name: Namer,
) -> tuple[ir.Value, ir.Value]:
    return (
        add_initializer(graph, name(f"{stem}_q"), integers),
        add_initializer(graph, name(f"{stem}_s"), scale),
    )


def _dequantize(
    graph: ir.Graph,
    node: ir.Node,
    inputs: tuple[ir.Value, ir.Value],
    axis: int,
    stem: str,
    name: Namer,
) -> ir.Value:
    scalar = inputs[1].shape is not None and not inputs[1].shape.rank()
    attributes = {} if scalar else {"axis": axis}
    dq = ir.node("DequantizeLinear", inputs, attributes=attributes, name=name(f"{stem}_dq"))
    dq.outputs[0].name = dq.name
    dq.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    dq.outputs[0].shape = inputs[0].shape
    graph.insert_before(node, dq)
    return dq.outputs[0]
