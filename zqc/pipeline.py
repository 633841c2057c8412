"""The stages on one screen: a prepared float model and a calibration set become a quantized file.

    prepare → equalize → calibrate → quantize → lower → serialize → compare → tune
              └──────────────── once per candidate ─────────────────┘  for the best alone

Where there are several candidates, all are calibrated and those go on whose outputs suffer least by
their activations: what weights cost hangs on the bits that layers get, and choosing these takes
long. Of the files that come out the one whose outputs suffer least is taken.
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


_FINALISTS = 2
"""Candidates of which the weights are quantized: activations alone rank the best of four first in
three of five detectors and second in the others (docs/results.md)."""


@dataclass(frozen=True)
class _Quantized:
    """A candidate whose weights are on their grids, with the bits that layers have got."""

    candidate: Candidate
    model: ir.Model
    bits_of: Mapping[str, int]


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
    finalists = _finalists(loaded, candidates, batches, plan, progress)
    whole = (one.with_moments_of(candidates[0]) for one in finalists)
    quantized = [
        _quantized(
            loaded,
            one,
            batches,
            plan,
            metadata,
            keep_moments=keep_moments,
            detector=detector,
            progress=progress,
        )
        for one in whole
    ]
    del candidates, finalists  # their moments take most of the memory
    outcome = _nearest(loaded, quantized, batches, plan, metadata, progress)
    if not (learn and recipe.learns):
        return outcome
    tuned = _tuned(outcome, plan, batches, detector=detector, store=store, progress=progress)
    learned = _Quantized(outcome.candidate, tuned.model, outcome.bits_of)
    outcome = _nearest(loaded, [learned], batches, plan, metadata, progress)
    return replace(outcome, learned=tuned.error, interrupted=tuned.interrupted)


def _finalists(
    loaded: LoadedModel,
    candidates: Sequence[Candidate],
    batches: Batches,
    plan: Plan,
    progress: Progress,
) -> list[Candidate]:
    """The candidates whose outputs suffer least by their activations, the best first."""
    if len(candidates) == 1:
        return list(candidates)
    fine = _with_nearest_weights(plan, 8)
    files = [
        _written(loaded, quantize(one.model, one.ranges, fine, means=one.means), batches, fine, {})
        for one in candidates
    ]
    errors = list(map(output_error, _compared(loaded, files, fine, progress)))
    order = sorted(range(len(candidates)), key=errors.__getitem__)
    return [candidates[index] for index in order[:_FINALISTS]]


def _quantized(
    loaded: LoadedModel,
    candidate: Candidate,
    batches: Batches,
    plan: Plan,
    metadata: Mapping[str, str],
    *,
    keep_moments: bool,
    detector: DetectorLoss | None,
    progress: Progress,
) -> _Quantized:
    """Quantize a calibrated candidate, each layer with the bits that it gets."""
    recipe = plan.recipe
    if recipe.minds_noise:
        with progress.stage("Measuring the noise of inputs"):
            candidate = _with_noise(candidate, batches, plan)
    bits_of = dict(plan.bits_of)
    if recipe.chooses_bits or mixes_bits(recipe):
        with progress.stage("Choosing bits by layer"):
            bits_of |= chosen_bits(
                candidate, loaded, plan, batches, metadata=metadata, detector=detector
            )
    model, ranges, means = candidate.model, candidate.ranges, candidate.means
    if recipe.refits:
        with progress.task("Refitting", len(weighted_layers(model.graph))) as task:
            quantized = refit(model, ranges, plan, batches, bits_of=bits_of, task=task)
    else:
        with progress.stage("Quantizing"):
            quantized = quantize(model, ranges, plan, means=means, bits_of=bits_of)
    candidate = candidate if keep_moments else candidate.without_moments()
    return _Quantized(candidate, quantized, bits_of)


def _nearest(
    loaded: LoadedModel,
    quantized: Sequence[_Quantized],
    batches: Batches,
    plan: Plan,
    metadata: Mapping[str, str],
    progress: Progress,
) -> Outcome:
    """The one whose outputs suffer least, as a file."""
    files = [_written(loaded, one.model, batches, plan, metadata) for one in quantized]
    agreements = _compared(loaded, files, plan, progress)
    best = min(range(len(files)), key=lambda index: output_error(agreements[index]))
    one = quantized[best]
    return Outcome(one.candidate, files[best], agreements[best], one.bits_of)


def _with_noise(candidate: Candidate, batches: Batches, plan: Plan) -> Candidate:
    """A candidate that knows what quantization adds to the layers' inputs."""
    model, ranges, means = candidate.model, candidate.ranges, candidate.means
    quantized = quantize(model, ranges, plan, means=means)
    noise = noise_between(model, quantized, batches, plan)
    return replace(candidate, ranges=ranges.with_noise(noise))


def _tuned(
    outcome: Outcome,
    plan: Plan,
    batches: Batches,
    *,
    detector: DetectorLoss | None,
    store: Store | None,
    progress: Progress,
) -> Tuned:
    """A quantized model whose biases, or weights as well, are trained against the float model."""
    model, recipe = outcome.candidate.model, plan.recipe
    _, height, width = picture_shape(model)
    return tune(
        model,
        outcome.written.quantized,
        bits_by_layer(model, recipe, outcome.bits_of) if recipe.learns_weights else {},
        counted_tensors(model, plan),
        batches,
        schedule=Schedule.of(recipe, height * width),
        objective=Objective.of(recipe),
        detector=detector,
        known=outcome.candidate.ranges.sensitivities,
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
    one = _Quantized(candidate, quantized, {})
    return _nearest(loaded, [one], outcome.written.batches, other, {}, progress)


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
