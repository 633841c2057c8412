"""The few activations that have 8 bits where the others have fewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from passes.analysis.quantization_points import QuantizationPoint
from passes.arithmetic import Grid
from zqc.calibration.collect import TensorStatistics
from zqc.calibration.distances import mean_error
from zqc.calibration.sensitivity import Sensitivity, weighted


def in_need_of_bits(
    points: Sequence[QuantizationPoint],
    grids: Mapping[str, Grid],
    finer: Mapping[str, Grid],
    tensors: Mapping[str, TensorStatistics],
    sensitivities: Mapping[str, Sensitivity],
    *,
    share: float,
) -> tuple[str, ...]:
    """Choose the points that get their finer grid: those that gain most for the bits they take.

    A point costs the outputs ΣF·E[e²], with the Fisher diagonal F of its tensor and the error e on
    its grid (``zqc.calibration.sensitivity``). Points are taken by what the finer grid gains for
    each bit, as long as all activations together take at most ``share`` more bits than now.
    Insides of activation functions are written nowhere on a chip and count for nothing.

    Args:
        points: All quantization points.
        grids: By the name of each point's first tensor, its grid.
        finer: Likewise the grid with more bits, of the points that may have them.
        tensors: What calibration saw of all tensors of the points.
        sensitivities: Of the first tensors; a point without one is left as it is.
        share: See ``Recipe.extra_bits``.

    Returns:
        The names of the first tensors of the points that are chosen, the most needy first.
    """
    costs, gains = {}, {}
    total = 0.0
    for point in points:
        leader = point.names[0]
        values = sum(float(tensors[name].histogram.counts.sum()) for name in point.names)
        if not point.internal:
            total += values * grids[leader].bits
        if leader in finer and leader in sensitivities and values > 0:
            costs[leader] = values * (finer[leader].bits - grids[leader].bits)
            before, after = (
                _loss(tensors[leader], grid, sensitivities[leader])
                for grid in (grids[leader], finer[leader])
            )
            gains[leader] = before - after
    room = share * total
    chosen = []
    for leader in sorted(gains, key=lambda name: -gains[name] / costs[name]):
        if gains[leader] > 0 and costs[leader] <= room:
            chosen.append(leader)
            room -= costs[leader]
    return tuple(chosen)


def _loss(tensor: TensorStatistics, grid: Grid, sensitivity: Sensitivity) -> float:
    """What the outputs lose by a tensor on a grid; every kind of pictures counts the same."""
    kinds = [weighted(histogram, sensitivity) for histogram in tensor.histograms]
    error = sum(mean_error(kind, grid) for kind in kinds) / len(kinds)
    return float(sensitivity.fisher_diagonal.sum()) * error
