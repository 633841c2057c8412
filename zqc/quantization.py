"""The stages between the border and the file, each a list of passes or a pure function."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from passes import (
    BatchNormToConv,
    CanonicalActivations,
    DerivedBiasScales,
    FloatBarriers,
    FoldArithmetic,
    FoldBatchNorm,
    Int4WeightsByCast,
    IntegerClips,
    QuantizeActivations,
    QuantizeWeights,
    ShortNames,
    SplitBranches,
    UnsignedActivations,
)
from passes.arithmetic import Grid
from passes.placement import Point, quantization_points
from zqc import model_io
from zqc.calibration import choose_grid, collect, identity, sigmoid, softplus
from zqc.errors import OptionError
from zqc.progress import Task
from zqc.recipe import Recipe, Target

PREPARE: tuple[ir.passes.InPlacePass, ...] = (
    FoldArithmetic(),
    FoldBatchNorm(),
    BatchNormToConv(),
    FoldArithmetic(),
    CanonicalActivations(),
    SplitBranches(),
    RemoveUnusedNodesPass(),
)
"""Exact passes on the float model."""

LOWERINGS: dict[Target, tuple[ir.passes.InPlacePass, ...]] = {
    "ort-x86": (
        UnsignedActivations(),
        IntegerClips(),
        FloatBarriers(),
        Int4WeightsByCast(),
        DerivedBiasScales(),
        ShortNames(),
        RemoveUnusedNodesPass(),
    ),
    "portable": (),
}
"""Exact passes on the quantized model, by target."""

_SEEN_THROUGH = {"": identity, "Sigmoid": sigmoid, "Softmax": softplus}
"""What the errors of a tensor are measured through, by what it is squashed by."""

_INTERNAL_BITS = 8

_POSITIONS = 8192
"""Output positions over all pictures at which the input of a layer is looked at."""


def prepare(model: ir.Model, recipe: Recipe) -> ir.Model:
    """Return the float model in the form that is quantized: BatchNorm folded, opset high enough."""
    prepared = ir.passes.Sequential(*PREPARE)(model.clone()).model
    if 4 in {recipe.bits, recipe.act_bits, recipe.first_last_bits}:
        prepared = model_io.raise_opset(prepared, model_io.INT4_OPSET)
    ShapeInferencePass()(prepared)
    return prepared


def kept_float(model: ir.Model, patterns: Sequence[str]) -> frozenset[str]:
    """Names of the nodes that match the patterns.

    Raises:
        OptionError: A pattern matches nothing.
    """
    names = [node.name for node in model.graph if node.name]
    kept: set[str] = set()
    for pattern in patterns:
        matching = fnmatch.filter(names, pattern)
        if not matching:
            raise OptionError(
                f"--keep-float {pattern!r} matches no node; `zqc inspect` lists the layers' names"
            )
        kept.update(matching)
    return frozenset(kept)


def points_of(model: ir.Model, recipe: Recipe, kept: Collection[str]) -> list[Point]:
    """Which tensors of a prepared model are quantized."""
    return quantization_points(
        model.graph,
        keep_float=kept,
        nonnegative_inputs=recipe.input_format is not None and min(recipe.input_format.low) >= 0,
    )


@dataclass(frozen=True)
class Ranges:
    """What calibration found out.

    Attributes:
        grids: The grid of every quantized tensor, by name.
        means: Mean per channel, shape (C,), of every quantized tensor, by name.
        moments: Second moments of the input of every layer, by name (``input_moments``).
    """

    grids: dict[str, Grid]
    means: dict[str, NDArray[np.float64]]
    moments: dict[str, NDArray[np.float64]]


def calibrate(
    model: ir.Model,
    points: Sequence[Point],
    batches: Iterable[NDArray[np.float32]],
    recipe: Recipe,
    *,
    pictures: int,
    task: Task,
    threads: int | None,
) -> Ranges:
    """Choose a grid for every tensor from its values over the pictures."""
    tensors = [name for point in points for name in point.names]
    samples = max(_POSITIONS // pictures, 16)
    seen = collect(model, tensors, batches, samples=samples, task=task, threads=threads)
    grids: dict[str, Grid] = {}
    for point in points:
        bits = _bits(point, recipe)
        histogram = seen.tensors[point.names[0]].histogram
        grid = choose_grid(
            histogram,
            bits=bits,
            signed=not point.nonnegative,
            seen_through=_SEEN_THROUGH[point.squashed_by],
            keeps_top=point.squashed_by == "Softmax",
        )
        grids.update(dict.fromkeys(point.names, grid))
    means = {name: seen.tensors[name].mean for name in tensors}
    return Ranges(grids, means, seen.moments)


def _bits(point: Point, recipe: Recipe) -> int:
    """Bits of a tensor; inside an activation function there is no reason to save any."""
    if point.edge:
        return recipe.first_last_bits
    return _INTERNAL_BITS if point.internal else recipe.act_bits


def quantize(model: ir.Model, ranges: Ranges, recipe: Recipe, kept: Collection[str]) -> ir.Model:
    """Return the canonical quantized model: standard QDQ, zero points 0."""
    quantized = model.clone()
    QuantizeActivations(ranges.grids)(quantized)
    QuantizeWeights(
        bits=recipe.bits,
        edge_bits=recipe.first_last_bits,
        keep_float=kept,
        input_means=ranges.means,
        input_moments=ranges.moments,
    )(quantized)
    RemoveUnusedNodesPass()(quantized)
    return quantized


def lower(model: ir.Model, target: Target) -> ir.Model:
    """Return the model in the form that the target fuses; every tensor keeps its value."""
    lowered = model.clone()
    # Sequential names the pass that fails, and those that ran before it.
    return ir.passes.Sequential(*LOWERINGS[target])(lowered).model if LOWERINGS[target] else lowered
