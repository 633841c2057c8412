"""The grids of what stands between a layer and its activation function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from passes.analysis.quantization_points import QuantizationPoint
from passes.arithmetic import Grid
from passes.graph import name_of
from zqc.calibration.channel_moments import Floats
from zqc.calibration.collect import TensorStatistics
from zqc.calibration.distances import Function, mean_error, shifted_errors
from zqc.calibration.elementwise import activation_behind
from zqc.calibration.histogram import Histogram
from zqc.calibration.thresholds import end_of, shifted_grids, stride_of
from zqc.targets import Target

_THRESHOLDS = 5
"""2t, t, t/2, … of the threshold t that was found for the values themselves."""


def inside_activations(
    values: Mapping[str, ir.Value],
    points: Sequence[QuantizationPoint],
    grids: Mapping[str, Grid],
    tensors: Mapping[str, TensorStatistics],
    target: Target,
) -> dict[str, Grid]:
    """Shift the grids of the tensors that only an activation function reads.

    Far below zero SiLU, LeakyReLU and the like leave little of what they get: with a grid that is
    cut off there the step is half as large where it counts.

    Args:
        values: The tensors of the model by name.
        points: Its quantization points.
        grids: The grid of every quantized tensor by name, found for the values themselves.
        tensors: What calibration has seen of them.
        target: What the model is lowered for; where zero points have to be 0 nothing is shifted.

    Returns:
        The grids of these tensors by name, as they were where no other is better.
    """
    found: dict[str, Grid] = {}
    if not target.shifts or target.even_shifts:
        return found
    for point in points:
        before = grids[point.names[0]]
        if not point.internal or not before.signed:
            continue
        kinds = tensors[point.names[0]].histograms
        shifted = {
            shifted_before(before, kinds, function, after)
            for function, after in _functions_behind(point, values, grids)
        }
        if len(shifted) == 1:  # halves of a tensor may have functions that differ
            found |= dict.fromkeys(point.names, shifted.pop())
    return found


def shifted_before(
    grid: Grid, kinds: Sequence[Histogram], activation: Function, behind: Grid
) -> Grid:
    """Return the grid with the least error of what an activation function makes of a tensor.

    Tried are the unsigned grids that reach as far up as the given one or the one behind the
    function: what that cuts off is lost in any case, and objects have the largest values. An error
    is a share of what the given grid makes; of several kinds of pictures the largest share counts.
    It is our choice, see docs/results/grids.md.

    Args:
        grid: The grid that was found for the values themselves.
        kinds: The values, by kind of pictures.
        activation: The function, of values of shape (K,).
        behind: The grid of what it puts out.

    Returns:
        The grid that was given where none is better for each kind.
    """
    seen = [kind for kind in kinds if np.any(kind.counts)]
    errors = [mean_error(kind, grid, seen_through=activation) for kind in seen]
    if not seen or min(errors) == 0:
        return grid
    enough, stride = min(end_of(grid), end_of(behind)), stride_of(grid.bits)
    best, least = grid, 1.0
    for exponent in range(grid.exponent + 1, grid.exponent + 1 - _THRESHOLDS, -1):
        tried = shifted_grids(exponent, grid.bits, stride, end=enough)
        shares = [
            shifted_errors(kind, exponent, bits=grid.bits, seen_through=activation)[::stride]
            / error
            for kind, error in zip(seen, errors, strict=True)
        ]
        worst = np.max(shares, axis=0)[: len(tried)]
        if tried and worst.min() < least:
            best, least = tried[int(worst.argmin())], float(worst.min())
    return best


def _functions_behind(
    point: QuantizationPoint, values: Mapping[str, ir.Value], grids: Mapping[str, Grid]
) -> Iterator[tuple[Function, Grid]]:
    """The activation functions that read a point's tensors, with the grids of what they put out."""
    for name in point.names:
        behind = activation_behind(values[name]) if name in values else None
        if behind is None or name_of(behind[1]) not in grids:
            continue
        function, output = behind
        if function(np.zeros((1, 1))).shape == (1, 1):  # else each channel has its own
            yield _of_single_values(function), grids[name_of(output)]


def _of_single_values(function: Callable[[Floats], Floats]) -> Function:
    """A function of values per channel, of one channel."""
    return lambda x: function(x[np.newaxis].astype(np.float64))[0]
