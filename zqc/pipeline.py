"""The stages on one screen: a prepared float model and a calibration set become a quantized file.

    prepare → equalize → calibrate → quantize → tune → lower → serialize → compare
                         per candidate, then for the better one

Where there are two candidates, both are calibrated and the one is carried on whose outputs suffer
less by its activations: what weights cost hangs on the bits that layers get, and choosing these
takes long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from passes.analysis.topology import weighted_layers
from zqc.calibration.analytic_moments import analytic_moments
from zqc.detection.agreement import PartAgreement, output_agreement, output_error
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.files.store import Store
from zqc.mixed_precision.choice import chosen_bits, mixes_bits
from zqc.model_io import model_file
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.batches import Batches
from zqc.pictures.model_input import picture_shape
from zqc.progress import Progress
from zqc.quantization.candidates import Candidate, calibrated, means_source
from zqc.quantization.equalize import equalize
from zqc.quantization.prepare import excluded_nodes, prepare, single_bits
from zqc.quantization.quantize import bits_by_layer, noise_between, quantize, refit
from zqc.recipe.plan import Plan
from zqc.statistics.batchnorm import LayerStatistics, with_sums
from zqc.tuning.objective import Objective
from zqc.tuning.schedule import Schedule
from zqc.tuning.tune import Tuned, counted_tensors, tune


@dataclass(frozen=True)
class Written:
    """A candidate as a file.

    Attributes:
        quantized: The canonical quantized model: standard QDQ, before any target.
        content: The bytes of the file for the recipe's target.
        compared: The same without what is left as it is, see ``zqc.model_io.ends``.
        batches: The calibration set in the batches that it takes, which a target may have fixed.
    """

    quantized: ir.Model
    content: bytes
    compared: bytes
    batches: Batches


@dataclass(frozen=True)
class Outcome:
    """What the pipeline ends with.

    Attributes:
        candidate: The candidate that was taken.
        written: Its file.
        agreement: How near its outputs come to those of the model as it was loaded.
        bits_of: The bits of single layers, chosen or asked for; empty where all have those of the
            recipe.
        learned: What learning has left of the error, see ``zqc.tuning.tune``; None without it.
        interrupted: Whether Ctrl-C ended learning early.
    """

    candidate: Candidate
    written: Written
    agreement: tuple[PartAgreement, ...]
    bits_of: Mapping[str, int]
    learned: float | None = None
    interrupted: bool = False


def begin(loaded: LoadedModel, plan: Plan) -> tuple[ir.Model, Plan]:
    """Prepare the model, and find in it what is not like the rest: all that needs no picture."""
    model = prepare(loaded.model, plan)
    plan = plan.excluding(excluded_nodes(model, plan.recipe.keep_float))
    return model, plan.with_bits(single_bits(model, plan.recipe))


def run(
    loaded: LoadedModel,
    model: ir.Model,
    layers: tuple[LayerStatistics, ...],
    batches: Batches,
    plan: Plan,
    *,
    metadata: Mapping[str, str],
    progress: Progress,
    keep_moments: bool = False,
    learn: bool = True,
    detector: DetectorLoss | None = None,
    store: Store | None = None,
) -> Outcome:
    """Quantize a prepared model.

    Args:
        loaded: The model as it came.
        model: The prepared model.
        layers: The statistics of its layers, as far as they are known.
        batches: The calibration set.
        plan: What is asked for.
        metadata: What the file holds beside the model.
        progress: Where long work reports to.
        keep_moments: Whether the candidate that is taken can be quantized once more.
        learn: Whether what the recipe wants learned is; else it is as learning begins, which takes
            seconds.
        detector: How the outputs are read; None where that is unknown or makes no difference.
        store: Where it is kept how far learning is; None for nowhere.

    Raises:
        ZqcError: See ``zqc.errors``.
    """
    recipe = plan.recipe
    synthesised = batches.pictures.synthesised and bool(layers)
    means_from = means_source(recipe.bias_correction, synthesised=synthesised)
    asks_for_statistics = "statistics" in (recipe.equalization, means_from)
    with progress.stage("Finding the ranges of channels"):
        known = with_sums(loaded.model, model, layers) if asks_for_statistics else ()
        analytic = analytic_moments(model, known)
        equalized = equalize(model, plan, batches, analytic)
    with progress.task("Calibrating", len(batches) * len(equalized)) as task:
        candidates = [
            calibrated(
                form,
                plan,
                batches,
                means_from,
                analytic,
                moments=form is equalized[0],
                detector=detector,
                task=task,
            )
            for form in equalized
        ]
    candidate = _better(loaded, candidates, batches, plan, progress).with_moments_of(candidates[0])
    del candidates  # their moments take most of the memory
    if recipe.minds_noise:
        with progress.stage("Measuring the noise of inputs"):
            candidate = _with_noise(candidate, batches, plan)
    bits_of = dict(plan.bits_of)
    if recipe.chooses_bits or mixes_bits(recipe):
        with progress.stage("Choosing bits by layer"):
            bits_of |= chosen_bits(
                candidate, loaded, plan, batches, metadata=metadata, detector=detector
            )
    float_model, ranges, means = candidate.model, candidate.ranges, candidate.means
    if recipe.refits:
        with progress.task("Refitting", len(weighted_layers(float_model.graph))) as task:
            quantized = refit(float_model, ranges, plan, batches, bits_of=bits_of, task=task)
    else:
        with progress.stage("Quantizing"):
            quantized = quantize(float_model, ranges, plan, means=means, bits_of=bits_of)
    candidate = candidate if keep_moments else candidate.without_moments()
    learned, interrupted = None, False
    if learn and recipe.learns:
        tuned = _tuned(
            candidate,
            quantized,
            plan,
            batches,
            bits_of,
            detector=detector,
            store=store,
            progress=progress,
        )
        quantized, learned, interrupted = tuned.model, tuned.error, tuned.interrupted
    file = _written(loaded, quantized, batches, plan, metadata)
    (agreement,) = _compared(loaded, [file], plan, progress)
    return Outcome(candidate, file, agreement, bits_of, learned, interrupted)


def _better(
    loaded: LoadedModel,
    candidates: Sequence[Candidate],
    batches: Batches,
    plan: Plan,
    progress: Progress,
) -> Candidate:
    """The candidate whose outputs suffer least by its activations."""
    if len(candidates) == 1:
        return candidates[0]
    fine = _with_nearest_weights(plan, 8)
    files = [
        _written(loaded, quantize(one.model, one.ranges, fine, means=one.means), batches, fine, {})
        for one in candidates
    ]
    errors = list(map(output_error, _compared(loaded, files, fine, progress)))
    return candidates[errors.index(min(errors))]


def _with_noise(candidate: Candidate, batches: Batches, plan: Plan) -> Candidate:
    """A candidate that knows what quantization adds to the layers' inputs."""
    model, ranges, means = candidate.model, candidate.ranges, candidate.means
    quantized = quantize(model, ranges, plan, means=means)
    noise = noise_between(model, quantized, batches, plan)
    return replace(candidate, ranges=ranges.with_noise(noise))


def _tuned(
    candidate: Candidate,
    quantized: ir.Model,
    plan: Plan,
    batches: Batches,
    bits_of: Mapping[str, int],
    *,
    detector: DetectorLoss | None,
    store: Store | None,
    progress: Progress,
) -> Tuned:
    """A quantized model whose biases, or weights as well, are trained against the float model."""
    model, recipe = candidate.model, plan.recipe
    _, height, width = picture_shape(model)
    return tune(
        model,
        quantized,
        bits_by_layer(model, recipe, bits_of) if recipe.learns_weights else {},
        counted_tensors(model, plan),
        batches,
        schedule=Schedule.of(recipe, height * width),
        objective=Objective.of(recipe),
        detector=detector,
        known=candidate.ranges.sensitivities,
        store=store,
        seed=recipe.seed,
        threads=plan.threads,
        progress=progress,
    )


def with_other_bits(
    loaded: LoadedModel, outcome: Outcome, plan: Plan, bits: int, progress: Progress
) -> Outcome:
    """Quantize what a run ended with once more, with so many bits for all weights.

    They are rounded to the nearest, as that takes seconds: enough to see what bits would gain.
    """
    other, candidate = _with_nearest_weights(plan, bits), outcome.candidate
    quantized = quantize(candidate.model, candidate.ranges, other, means=candidate.means)
    file = _written(loaded, quantized, outcome.written.batches, other, {})
    (agreement,) = _compared(loaded, [file], other, progress)
    return Outcome(candidate, file, agreement, {})


def _with_nearest_weights(plan: Plan, bits: int) -> Plan:
    """The same with so many bits for all weights, rounded to the nearest."""
    recipe = replace(
        plan.recipe,
        bits=bits,
        first_last_bits=8,
        rounding="nearest",
        weight_levels="auto",
        second_moments=False,
    )
    return replace(plan, recipe=recipe, bits_of={})


def _written(
    loaded: LoadedModel,
    quantized: ir.Model,
    batches: Batches,
    plan: Plan,
    metadata: Mapping[str, str],
) -> Written:
    """A quantized model as the file for the recipe's target."""
    lowered = plan.target.lower(quantized, plan.recipe.min_runtime)
    content = model_file.serialize(lowered, metadata=metadata, source=loaded)
    part = content
    if loaded.ends.reasons:
        part = model_file.serialize(lowered, metadata={}, source=loaded, whole=False)
    return Written(
        quantized, content, part, Batches.of(batches.pictures, lowered, most=batches.size)
    )


def _compared(
    loaded: LoadedModel, files: Sequence[Written], plan: Plan, progress: Progress
) -> tuple[tuple[PartAgreement, ...], ...]:
    """How near the outputs of each file come to the float model's, on the calibration set."""
    taken = files[0].batches
    with progress.task("Comparing", len(taken)) as task:
        return output_agreement(
            loaded.model,
            [file.compared for file in files],
            taken,
            feeds=loaded.interface.taken.feeds,
            task=task,
            threads=plan.threads,
        )
