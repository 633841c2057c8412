"""The stages on one screen: a prepared float model and a calibration set become a quantized file.

    prepare → equalize → calibrate → quantize → tune → lower → serialize → compare
              └──────── once per candidate, tune for the best alone ──────────┘

Every candidate is calibrated, quantized and written once, and all of them are compared with the
float model in one pass over the calibration set; the one whose outputs suffer least is carried on.
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
    chooses = recipe.chooses_bits or mixes_bits(recipe)
    learns = learn and recipe.learns
    # What needs a calibrated model and goes on with it.
    more = chooses or recipe.refits or recipe.minds_noise or learns

    candidates: list[Candidate] = []
    files: list[Written] = []
    with progress.task("Calibrating", len(batches) * len(equalized)) as task:
        for one in equalized:
            candidate = calibrated(
                one, plan, batches, means_from, analytic, detector=detector, task=task
            )
            if len(equalized) > 1 or not more:
                float_model, ranges, means = candidate.model, candidate.ranges, candidate.means
                quantized = quantize(float_model, ranges, plan, means=means)
                files.append(_written(loaded, quantized, batches, plan, metadata))
            again = more or keep_moments
            candidates.append(candidate if again else candidate.without_moments())
    agreements = _compared(loaded, files, plan, progress) if files else ()
    best = min(range(len(files)), key=lambda i: output_error(agreements[i]), default=0)
    candidate = candidates[best]
    if not more:
        return Outcome(candidate, files[best], agreements[best], plan.bits_of)

    if recipe.minds_noise:
        with progress.stage("Measuring the noise of inputs"):
            candidate = _with_noise(candidate, files[best] if files else None, batches, plan)
    bits_of = dict(plan.bits_of)
    if chooses:
        with progress.stage("Choosing bits by layer"):
            bits_of |= chosen_bits(
                candidate, loaded, plan, batches, metadata=metadata, detector=detector
            )
    float_model, ranges, means = candidate.model, candidate.ranges, candidate.means
    if recipe.refits:
        with progress.task("Refitting", len(weighted_layers(float_model.graph))) as task:
            quantized = refit(float_model, ranges, plan, batches, bits_of=bits_of, task=task)
    elif files and not (chooses or recipe.minds_noise):
        quantized = files[best].quantized
    else:
        with progress.stage("Quantizing"):
            quantized = quantize(float_model, ranges, plan, means=means, bits_of=bits_of)
    learned, interrupted = None, False
    if learns:
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


def _with_noise(
    candidate: Candidate, file: Written | None, batches: Batches, plan: Plan
) -> Candidate:
    """A candidate that knows what quantization, as in a file of it, adds to the layers' inputs."""
    model, ranges, means = candidate.model, candidate.ranges, candidate.means
    quantized = quantize(model, ranges, plan, means=means) if file is None else file.quantized
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
    recipe = replace(
        plan.recipe,
        bits=bits,
        first_last_bits=8,
        rounding="nearest",
        weight_levels="auto",
        second_moments=False,
    )
    other, candidate = replace(plan, recipe=recipe, bits_of={}), outcome.candidate
    batches = outcome.written.batches
    quantized = quantize(candidate.model, candidate.ranges, other, means=candidate.means)
    file = _written(loaded, quantized, batches, other, {})
    (agreement,) = _compared(loaded, [file], other, progress)
    return Outcome(candidate, file, agreement, {})


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
