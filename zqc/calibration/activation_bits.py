"""The bits of each activation, where all together have about as many as somebody asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from passes.analysis.quantization_points import QuantizationPoint
from passes.arithmetic import Grid
from zqc.allocation import Budget, Costs, allocate
from zqc.calibration.collect import TensorStatistics
from zqc.calibration.distances import mean_error
from zqc.calibration.sensitivity import weighted
from zqc.calibration.squared_gradients import Sensitivity


def best_bits(
    points: Sequence[QuantizationPoint],
    grids: Mapping[str, Grid],
    choices: Mapping[str, Mapping[int, Grid]],
    tensors: Mapping[str, TensorStatistics],
    sensitivities: Mapping[str, Sensitivity],
    *,
    share: float,
) -> dict[str, int]:
    """Choose the bits of the points that have a choice, so that the outputs lose least.

    A point costs the outputs ΣF·E[e²], with the Fisher diagonal F of its tensor and the error e on
    its grid (``zqc.calibration.sensitivity``). All activations together take at most ``share``
    more bits than on the grids that are given. Insides of activation functions are written nowhere
    on a chip and count for nothing.

    Args:
        points: All quantization points.
        grids: By the name of each point's first tensor, its grid.
        choices: Likewise the grids that it may have, by their bits, of the points with a choice;
            one of them has the bits of the grid above.
        tensors: What calibration saw of all tensors of the points.
        sensitivities: Of the first tensors; a point without one is left as it is.
        share: See ``Recipe.extra_bits``.

    Returns:
        By the names of the first tensors, of the points with a choice.
    """
    losses, costs = {}, {}
    total = fixed = 0.0
    for point in points:
        leader = point.names[0]
        values = _values(point, tensors)
        bits = 0.0 if point.internal else values * grids[leader].bits
        total += bits
        if leader in choices and leader in sensitivities and values:
            losses[leader] = _losses(tensors[leader], choices[leader], sensitivities[leader])
            costs[leader] = {width: values * width for width in choices[leader]}
        else:
            fixed += bits
    return allocate(losses, [Budget("size", 1 + share, total, Costs(fixed, costs))]).bits


def average_bits(
    points: Sequence[QuantizationPoint],
    grids: Mapping[str, Grid],
    tensors: Mapping[str, TensorStatistics],
) -> float:
    """Bits of an activation on average, over all values but those inside activation functions."""
    values = {point.names[0]: _values(point, tensors) for point in points if not point.internal}
    taken = sum(count * grids[leader].bits for leader, count in values.items())
    return taken / max(sum(values.values()), 1.0)


def _values(point: QuantizationPoint, tensors: Mapping[str, TensorStatistics]) -> float:
    """How many values all tensors of a point have had."""
    return sum(float(tensors[name].histogram.counts.sum()) for name in point.names)


def _losses(
    tensor: TensorStatistics, choices: Mapping[int, Grid], sensitivity: Sensitivity
) -> dict[int, float]:
    """What the outputs lose by a tensor, by its bits; noise counts where there is nothing else."""
    histogram = weighted(tensor.histograms[0], sensitivity)
    fisher = float(sensitivity.fisher_diagonal.sum())
    return {bits: fisher * mean_error(histogram, grid) for bits, grid in choices.items()}
