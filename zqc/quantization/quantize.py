"""From a calibrated float model to the canonical quantized one: standard QDQ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import AbsorbedBounds, QuantizeActivations, QuantizeWeights
from passes.analysis.topology import first_last_layers, weighted_layers
from passes.arithmetic import FLOAT_BITS, Grid
from zqc.calibration.calibrate import Ranges
from zqc.pictures.batches import Batches
from zqc.progress import Task
from zqc.quantization.paired_inputs import input_noise
from zqc.quantization.reconstruct import reconstruct
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe

Means = Mapping[str, NDArray[np.float64]]
"""Mean per channel, shape (C,), by name of the tensor."""

_REFIT_SAMPLES = 256
"""Output positions per picture at which the inputs of layers are looked at again."""

_NOISY_PICTURES, _NOISY_SAMPLES = 8, 512
"""Pictures, and output positions of each, by which the noise of inputs is measured: numbers, not
matrices. One picture at a time: what all layers read in both models takes memory."""


def quantize_activations(model: ir.Model, grids: Mapping[str, Grid], plan: Plan) -> ir.Model:
    """Return the model with every tensor that has a grid on it; weights are still float."""
    quantized = model.clone()
    QuantizeActivations(grids, plan.target.constants)(quantized)
    AbsorbedBounds()(quantized)
    return quantized


def quantize(
    model: ir.Model,
    ranges: Ranges,
    plan: Plan,
    *,
    means: Means,
    bits_of: Mapping[str, int] | None = None,
) -> ir.Model:
    """Return the canonical quantized model.

    Args:
        model: The prepared float model.
        ranges: What calibration found out.
        plan: How weights are rounded, and to how many bits.
        means: Means of the tensors, for the bias correction.
        bits_of: Bits of single layers by name, whatever the plan says; 32 for float.
    """
    recipe, target = plan.recipe, plan.target
    bits_of = {**plan.bits_of, **(bits_of or {})}
    quantized = quantize_activations(model, ranges.grids, plan)
    QuantizeWeights(
        bits=recipe.weight_bits,
        first_last_bits=recipe.first_last_weight_bits,
        bits_of=bits_of,
        excluded=_float_layers(plan, bits_of),
        input_means=means,
        input_moments=ranges.statistics.moments,
        compensate=recipe.rounding != "nearest",
        second_moments=recipe.second_moments,
        per_tensor=target.per_tensor,
        int4=target.int4,
        log_affine=recipe.log_affine,
    )(quantized)
    RemoveUnusedNodesPass()(quantized)
    return quantized


def noise_between(
    model: ir.Model, quantized: ir.Model, batches: Batches, plan: Plan
) -> dict[str, NDArray[np.float64]]:
    """Return what quantization adds to the layers' inputs, by ``input_noise`` on a few pictures."""
    return input_noise(
        model,
        quantized,
        Batches.of(batches.pictures, model, most=1).first(_NOISY_PICTURES),
        samples=_NOISY_SAMPLES,
        generator=np.random.default_rng(plan.recipe.seed),
        threads=plan.threads,
    )


def refit(
    model: ir.Model,
    ranges: Ranges,
    plan: Plan,
    batches: Batches,
    *,
    bits_of: Mapping[str, int],
    task: Task,
) -> ir.Model:
    """Return the canonical quantized model with weights that make up for the layers before them.

    Args: As ``quantize``, and the calibration set; the task is advanced layer by layer.
    """
    recipe, target = plan.recipe, plan.target
    bits_of = {**plan.bits_of, **bits_of}
    return reconstruct(
        model,
        quantize_activations(model, ranges.grids, plan),
        batches,
        refit=recipe.rounding == "refitted",
        compensate=recipe.rounding != "nearest",
        bits=recipe.weight_bits,
        first_last_bits=recipe.first_last_weight_bits,
        bits_of=bits_of,
        excluded=_float_layers(plan, bits_of),
        per_tensor=target.per_tensor,
        int4=target.int4,
        log_affine=recipe.log_affine,
        samples=_REFIT_SAMPLES,
        task=task,
        threads=plan.threads,
        seed=recipe.seed,
    )


def bits_by_layer(model: ir.Model, recipe: Recipe, bits_of: Mapping[str, int]) -> dict[str, int]:
    """Return the bits of the weights of every layer by name, those of ``bits_of`` first."""
    first_last = first_last_layers(model.graph)
    return {
        node.name or "": (
            recipe.first_last_weight_bits if node in first_last else recipe.weight_bits
        )
        for node in weighted_layers(model.graph)
    } | dict(bits_of)


def _float_layers(plan: Plan, bits_of: Mapping[str, int]) -> set[str]:
    """The nodes whose weights stay float: as the user says, or as the target latency allows."""
    return {*plan.excluded, *(name for name, bits in bits_of.items() if bits == FLOAT_BITS)}
