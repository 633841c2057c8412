"""From calibration pictures to the grid of every quantized tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.bounds import known_bound
from passes.analysis.quantization_points import QuantizationPoint
from passes.arithmetic import Grid
from passes.graph import name_of
from zqc.calibration.activation_bits import average_bits, best_bits
from zqc.calibration.collect import CalibrationStatistics, collect
from zqc.calibration.distances import identity, sigmoid, softplus
from zqc.calibration.histogram import Histogram, without_outliers
from zqc.calibration.inside_activations import inside_activations
from zqc.calibration.second_moments import Fold, Noise
from zqc.calibration.sensitivity import sensitivities, weighted
from zqc.calibration.squared_gradients import Sensitivity
from zqc.calibration.thresholds import Method, choose_grid, grid_up_to
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.pictures.batches import SENSITIVITY_PICTURES, Batches
from zqc.progress import Task
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe
from zqc.targets import Target

_SEEN_THROUGH = {"": identity, "Sigmoid": sigmoid, "Softmax": softplus}
"""What the errors of a tensor are measured through, by what it is squashed by."""

_HEADROOM = 1.5
"""How many times the largest value seen a tensor holds whose largest values decide: real pictures
go beyond synthesised ones, and a step twice as large costs less than a peak that is cut off."""

_FULL_BITS = 8
"""Of tensors that are no quantization points of the paper, but of the runtime alone."""

_POSITIONS = 32768
"""Output positions over all pictures at which the input of a layer is looked at: some thirty for
each column of the largest blocks of moments."""


@dataclass(frozen=True)
class Ranges:
    """What calibration found out.

    Attributes:
        grids: The grid of every quantized tensor, by name.
        statistics: Histograms and means of those tensors, moments of the inputs of the layers.
        sensitivities: Of the tensors and of what the layers put out; empty where nothing asked for
            them.
        mixed: By the names of their first tensors, the bits of points that have more or fewer than
            ``bits_of`` says.
        average_bits: Of the activations, insides of activation functions apart.
    """

    grids: dict[str, Grid]
    statistics: CalibrationStatistics
    sensitivities: Mapping[str, Sensitivity]
    mixed: Mapping[str, int] = field(default_factory=dict)
    average_bits: float = 8.0

    @property
    def means(self) -> dict[str, NDArray[np.float64]]:
        """Mean per channel, shape (C,), of every quantized tensor, by name."""
        return {name: seen.mean for name, seen in self.statistics.tensors.items()}

    def with_moments(self, folds: tuple[Fold, ...]) -> Ranges:
        """The same with other moments of the layers' inputs."""
        return replace(self, statistics=replace(self.statistics, folds=folds))

    def with_noise(self, noise: Noise) -> Ranges:
        """The same with what quantization adds to the layers' inputs."""
        return replace(self, statistics=replace(self.statistics, noise=noise))


def calibrate(
    model: ir.Model,
    points: Sequence[QuantizationPoint],
    batches: Batches,
    plan: Plan,
    *,
    moments: bool = True,
    detector: DetectorLoss | None = None,
    task: Task,
) -> Ranges:
    """Choose a grid for every tensor from its values over the pictures.

    Where the range is known before any picture is seen (Sigmoid, Softmax, ReLU6) nothing is
    searched for 8 bits: HPTQ's rule, which changes no accuracy. With 4 bits, clipping pays.

    Between a layer and its activation function the grid may be a finer one, see
    ``inside_activations``.

    Where fewer than 8 bits are mixed, tensors that need them have more and others fewer, see
    ``best_bits``.

    Of synthesised pictures and structured noise each has a grid of its own, and the one of the
    higher threshold is taken: neither shows how far real pictures go everywhere, and of both
    together the many would hide what the few show. Where activations have fewer than 8 bits the
    synthesised ones alone count: a threshold twice as high costs a bit of few. Both are our choice,
    see docs/results/calibration.md.

    Args:
        model: The prepared float model.
        points: Its quantization points.
        batches: The calibration set.
        plan: Its bits, and how thresholds and shifts are chosen.
        moments: Whether the inputs of the layers are looked at, too.
        detector: How the outputs are read, where that is known, see ``sensitivities``.
        task: Advanced by the number of pictures.

    Raises:
        RuntimeFailure: A tensor became infinite or not a number, or ONNX Runtime failed.
    """
    tensors = [name for point in points for name in point.names]
    recipe, target, threads = plan.recipe, plan.target, plan.threads
    samples = max(_POSITIONS // len(batches), 16) if moments else 0
    seen = collect(model, tensors, batches.kinds, samples=samples, task=task, threads=threads)
    weights: Mapping[str, Sensitivity] = {}
    if recipe.weighs_errors or recipe.mixes_activations:
        weights = sensitivities(
            model,
            tensors,
            batches.first(SENSITIVITY_PICTURES),
            detector=detector,
            seed=recipe.seed,
            threads=threads,
        )
    values = {name_of(output): output for node in model.graph for output in node.outputs}

    @cache
    def grid_of(point: QuantizationPoint, bits: int) -> Grid:
        leader = point.names[0]
        bound = known_bound(values[leader]) if leader in values else None
        if bound is not None and bits == _FULL_BITS:
            return grid_up_to(bound, bits=bits, signed=not target.unsigned)
        sensitivity = weights.get(leader) if recipe.weighs_errors else None
        kinds = seen.tensors[leader].histograms[: 1 if recipe.few_bits else None]
        chosen = [_grid(point, kind, bits, sensitivity, recipe, target) for kind in kinds]
        return max(chosen, key=lambda one: one.exponent)

    grids = {point.names[0]: grid_of(point, bits_of(point, recipe)) for point in points}
    mixed: dict[str, int] = {}
    if recipe.mixes_activations:
        widths = [bits for bits in target.act_bits if bits >= recipe.least_act_bits]
        choices = {
            point.names[0]: {bits: grid_of(point, bits) for bits in widths}
            for point in points
            if not (point.first_last or point.internal)
        }
        share = recipe.extra_bits
        chosen = best_bits(points, grids, choices, seen.tensors, weights, share=share)
        mixed = {name: bits for name, bits in chosen.items() if bits != grids[name].bits}
        grids |= {name: choices[name][bits] for name, bits in mixed.items()}
    every = {name: grids[point.names[0]] for point in points for name in point.names}
    # The errors of other powers, seen through a function that falls somewhere, are no sums.
    if recipe.shift == "search" and _method(recipe) == "mse":
        every |= inside_activations(values, points, every, seen.tensors, target)
    return Ranges(every, seen, weights, mixed, average_bits(points, grids, seen.tensors))


def bits_of(point: QuantizationPoint, recipe: Recipe) -> int:
    """Bits of a tensor where they are not mixed.

    Inside an activation function there is no reason to save any: by the paper a layer and its
    activation function are one point. Nor for a Concat: 8 bits hold what is left of its inputs,
    each of which keeps a grid of its own.
    """
    if point.first_last:
        return recipe.first_last_bits
    return _FULL_BITS if point.internal or point.joined else recipe.act_bits


def _method(recipe: Recipe) -> Method:
    asked = recipe.threshold
    return "mse" if asked == "auto" or asked == "sensitivity" else asked  # noqa: PLR1714


def _grid(
    point: QuantizationPoint,
    histogram: Histogram,
    bits: int,
    sensitivity: Sensitivity | None,
    recipe: Recipe,
    target: Target,
) -> Grid:
    # The weights of logits are those of their scores already, see ``seen_through``.
    if sensitivity is not None and not point.squashed_by:
        histogram = weighted(histogram, sensitivity)
    if recipe.z_score is not None:
        histogram = without_outliers(histogram, z=recipe.z_score)
    return choose_grid(
        histogram,
        bits=bits,
        signed=not (point.nonnegative and target.unsigned),
        seen_through=_SEEN_THROUGH[point.squashed_by],
        keeps_up_to=_HEADROOM if point.decides else float(point.squashed_by == "Softmax"),
        method=_method(recipe),
        p=recipe.lp,
        shift=recipe.shift if point.slightly_negative and target.shifts else "none",
        even=target.even_shifts,
    )
