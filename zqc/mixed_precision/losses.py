"""What quantization costs, layer by layer and bit by bit, predicted from what calibration saw.

An error of a tensor costs the outputs its square times how sensitive they are to it
(``zqc.calibration.sensitivity``). Weights rounded by δ err in the layer's output c by
E[(δ_cᵀx)²] = δ_cᵀ M δ_c with M = E[x xᵀ], so the loss of a layer is Σ_c gains_c · δ_cᵀ M δ_c:
the network is not run again. Losses add up, as far as errors of different layers are independent.

Weights that are rounded for some pictures err less on these than on others, in wide layers by a
factor of six. So they are rounded for one fold of the calibration set and judged by another one:
rounded for structured noise, and judged by the pictures that match the statistics.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import weighted_layers
from passes.arithmetic import FLOAT_BITS, Grid
from passes.graph import float_attribute, int_attribute, ints, name_of
from passes.layers import along, layer_of, output_axis
from passes.quantize.quantize_weights import rounded_weight
from zqc.calibration.collect import CalibrationStatistics
from zqc.calibration.histogram import Histogram
from zqc.calibration.second_moments import noisy
from zqc.calibration.squared_gradients import Sensitivity

Losses = dict[str, dict[int, float]]
"""By name of what has a choice, and by its bits: what the outputs lose."""


def weight_losses(
    model: ir.Model,
    widths: Mapping[str, Sequence[int]],
    grids: Mapping[str, Grid],
    statistics: CalibrationStatistics,
    sensitivities: Mapping[str, Sensitivity],
    *,
    compensate: bool,
    second_moments: bool,
    corrected: bool,
    per_tensor: Collection[str] = (),
    log_affine: bool = False,
) -> Losses:
    """Predict what the weights of each layer cost at each number of bits.

    Args:
        model: The float model that is quantized.
        widths: By name of the layer, the bits to look at: 2 to 8, and 32 for float, which is free.
        grids: Grids of the tensors that are quantized.
        statistics: Of the tensors and of the layers' inputs.
        sensitivities: Of the layers' outputs.
        compensate: As ``QuantizeWeights`` has it.
        second_moments: Likewise.
        corrected: Whether the mean of the errors is taken out by the bias.
        per_tensor: As ``QuantizeWeights`` has it.
        log_affine: Likewise.

    Returns:
        Losses in the unit of ``Sensitivity``. Left out: layers with a float input or a computed
        weight, and those without a sensitivity. One that no output seems to depend on, as far as
        the few pictures tell, counts like the least sensitive of the others: our choice.
    """
    losses: Losses = {}
    fisher_diagonal = _layer_fisher_diagonals(model.graph, sensitivities)
    for node in weighted_layers(model.graph):
        name, source = node.name or "", name_of(node.inputs[0])
        layer = layer_of(node)
        if not (name in widths and name in fisher_diagonal and source in grids) or layer is None:
            continue
        noise = statistics.noise.get(name)
        folds = [noisy([fold[name]], noise) for fold in statistics.folds if name in fold]
        losses[name] = {}
        for bits in widths[name]:
            if bits == FLOAT_BITS:
                losses[name][bits] = 0.0
                continue
            integers, scale = rounded_weight(
                [(layer, grids[source].scale)],
                layer.weight,
                bits=bits,
                moments=folds[-1].second if folds else None,
                compensate=compensate,
                second_moments=second_moments,
                per_tensor=node.op_type in per_tensor,
                log_affine=log_affine,
                neighbours=False,
            )
            steps = along(layer.output_axis, scale, layer.weight.ndim)
            error = integers * steps - layer.weight
            if folds:
                judge = folds[0]
                mean = judge.mean if corrected else None
                errors = output_errors(node, error, judge.second, mean)
            else:
                square = mean_square(statistics.tensors[source].histogram)
                errors = uncorrelated_errors(node, error, square)
            losses[name][bits] = _loss(node, errors, fisher_diagonal[name])
    return losses


def output_errors(
    node: ir.Node,
    error: NDArray[np.floating],
    moments: NDArray[np.float64],
    mean: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Mean squared error of a layer's output by an error of its weights.

    Args:
        node: A Conv or a Gemm.
        error: δ in the shape of the weight.
        moments: M = E[x xᵀ] of the layer's inputs, (groups, blocks, K, K) as ``input_moments``.
        mean: μ = E[x], (groups, blocks, K), where the bias makes up for the mean δᵀμ of the error:
            what is left is its variance δᵀ(M − μμᵀ)δ.

    Returns:
        Shape (C_out,).
    """
    axis = output_axis(node, error.ndim)
    groups, blocks, columns, _ = moments.shape
    rows = np.moveaxis(error, axis, 0).reshape(groups, -1, blocks, columns).swapaxes(1, 2)
    rows = rows.astype(np.float64)
    errors = np.sum(rows @ moments * rows, axis=-1)
    if mean is not None:
        errors -= (rows @ mean[..., np.newaxis])[..., 0] ** 2
    alpha = float_attribute(node, "alpha", 1.0)
    # Where M was corrected by what is known better, the difference may come out below 0.
    positive: NDArray[np.float64] = np.maximum(errors, 0).sum(axis=1).reshape(-1) * alpha**2
    return positive


def uncorrelated_errors(
    node: ir.Node, error: NDArray[np.floating], square: float
) -> NDArray[np.float64]:
    """The same of any layer whose inputs are uncorrelated, with mean square ``square``.

    A ConvTranspose of stride s multiplies each output pixel by 1/s² of its kernel.
    """
    if node.op_type == "ConvTranspose":
        groups = int_attribute(node, "group", 1)
        grouped = error.reshape(groups, -1, error.shape[1], error[0, 0].size)
        strides = ints(node, "strides", (1,) * (error.ndim - 2))
        squares = np.square(grouped, dtype=np.float64).sum(axis=(1, 3)) / np.prod(strides)
    else:
        rows = np.moveaxis(error, output_axis(node, error.ndim), 0)
        squares = np.square(rows, dtype=np.float64).reshape(len(rows), -1).sum(axis=1)
    return np.asarray(squares.reshape(-1) * square, np.float64)


def mean_square(histogram: Histogram) -> float:
    """E[x²] of a tensor; 0 of one that nothing was seen of."""
    total = histogram.counts.sum()
    return float(histogram.counts @ histogram.centres**2 / total) if total else 0.0


def _layer_fisher_diagonals(
    graph: ir.Graph, sensitivities: Mapping[str, Sensitivity]
) -> dict[str, NDArray[np.float64]]:
    """Gains of the layers' outputs by the layers' names, never all 0 where any layer has some."""
    names = {node.name or "": name_of(node.outputs[0]) for node in weighted_layers(graph)}
    found = {
        n: sensitivities[out].fisher_diagonal for n, out in names.items() if out in sensitivities
    }
    least = min((g.sum() for g in found.values() if np.any(g)), default=0.0)
    return {n: g if np.any(g) else np.full(len(g), least / len(g)) for n, g in found.items()}


def _loss(
    node: ir.Node, errors: NDArray[np.float64], fisher_diagonal: NDArray[np.float64]
) -> float:
    """Σ Fisher diagonal · errors; a diagonal that is not per output channel is spread evenly."""
    shape = node.outputs[0].shape
    by_channel = node.op_type != "MatMul" or (shape is not None and len(shape) == 2)
    if by_channel and len(fisher_diagonal) == len(errors):
        return float(fisher_diagonal @ errors)
    return float(fisher_diagonal.sum() * errors.mean())
