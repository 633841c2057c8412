"""What ``zqc compile`` does: paths, pipeline, proof, report."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import first_last_layers
from passes.arithmetic import FLOAT_BITS
from zqc import pipeline
from zqc.commands import inputs
from zqc.commands.advice import after_compile
from zqc.commands.arguments import (
    ImagesLike,
    ModelLike,
    check_outputs,
    images_of,
    model_of,
    name_of_model,
    progress_of,
    recipe_of,
)
from zqc.commands.detector import Detector, detector_of
from zqc.commands.inputs import CalibrationSource
from zqc.commands.judged import Judged, is_better, judge_compiled
from zqc.commands.memory_bound import asked_memory, batches_within
from zqc.commands.origin import Origin
from zqc.commands.task_specific import detector_loss
from zqc.commands.training_labels import weighing_labels, with_labels
from zqc.detection.agreement import PartAgreement
from zqc.detection.average_precision import Accuracy
from zqc.detection.pairing import Pairing
from zqc.detection.verdict import Verdict
from zqc.files.atomic import atomic_write
from zqc.files.inputs import input_path
from zqc.files.places import FilePath, check_space, to_path
from zqc.files.store import user_store
from zqc.mixed_precision.choice import mixes_bits
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.batches import Batches
from zqc.pictures.images import ImageSet
from zqc.pictures.input_format import InputFormat, is_bgr
from zqc.pictures.memory import MEMORY
from zqc.pictures.model_input import fixed_batch
from zqc.pipeline import Outcome
from zqc.progress import Progress, Silent
from zqc.quantization.layer_facts import LayerFacts, input_ranges, layer_facts
from zqc.quantization.quantize import bits_by_layer
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe
from zqc.recipe.toml import METADATA_KEY, to_toml
from zqc.report.html import render
from zqc.report.html.from_compile import SHOWN_PICTURES, compiled_page
from zqc.report.printing import Printable
from zqc.runtime import cpu, executed, process_memory, saturation, session
from zqc.runtime.executed import FloatOperators, LayerReport
from zqc.runtime.latency import median_latencies
from zqc.statistics.input_choice import InputChoice
from zqc.targets import Kernels
from zqc.version import __version__

_MORE_THAN_WEIGHTS = 1.3
"""How large a file is, in that of its weights at the bits of the recipe, where its bits are mixed,
its first and last layers have 8, or single ones stay float."""


@dataclass(frozen=True)
class CompileResult(Printable):
    """The outcome of ``zqc.compile``.

    Attributes:
        verdict: Whether it is still good, on the calibration pictures.
        output: The file that was written; None where a model in memory was written nowhere.
        precision: ``int8``, ``w4a8``, …
        target: What it was lowered for.
        input_choice: How pixels become input values.
        calibration: Where the calibration data came from, in words.
        caution: What speaks against relying on them; empty where nothing does.
        saturation: What speaks against the weights on this processor; empty where nothing does.
        bits_chosen: Whether bits were chosen layer by layer, or single layers have their own.
        mixed_room: By what share the file may be larger than with the same bits in all layers; 0
            where that does not decide on them.
        activation_bits: By the names of the tensors, the bits of activations that have more or
            fewer than the recipe says.
        average_bits: Of the activations, insides of activation functions apart.
        activation_room: By what share all activations together may take more bits for that.
        learned: What learning has left of the error on pictures that it was not shown, 1 for all of
            it; None where nothing was learned.
        weights_learned: Whether weights were; else biases alone.
        interrupted: Whether Ctrl-C ended learning early.
        kernels: Where the integer kernels of the target are, see ``zqc.targets.Target``. Elsewhere,
            layers and operators say what the target's rules quantize.
        refused: Layers whose output channels could not be equalized, with why; empty where it was
            not asked for.
        layers: Every weighted layer, in graph order.
        not_compared: Outputs that ``agreement`` says nothing of, by name, with why.
        float_operators: Operators other than weighted layers that run in float, by reason.
        agreement: Agreement with the float model on the calibration pictures, per output part.
        bytes_before: Size of the float model in bytes, external data included.
        bytes_after: Size of the output in bytes.
        latency_before_ms: Median latency of the float model, one picture, one thread; NaN where
            the target's kernels are not here.
        latency_after_ms: The same of the output.
        post_processing: First nodes of the post-processing, which stays float.
        first_last: Names of the layers that have the first/last bits.
        seconds: Wall time of the compilation.
        detector: How detections are read from the outputs, or why they are not, in words.
        detections: AP of the detections in the calibration pictures, with the float model's in the
            place of labels; None where there are none.
        pairing: How the detections of both models pair; None without a known convention.
        content: The bytes of the output.
        source: The file of the model, as the user names it; empty of one in memory.
        sha256: Hash of its file, or of its bytes.
        recipe: What it was compiled with, as TOML.
        losses: Loss of the synthesis before the first and after each pass; empty without one.
        facts: Scales, clipping and size of the weighted layers that quantization has seen.
        peak_memory: The largest resident memory of this process until then, in bytes; None where
            the system does not tell.
        cached: Whether the synthesised pictures are those of an earlier compilation.
    """

    text_by = ("zqc.report.text", "compiled")

    verdict: Verdict
    output: Path | None
    precision: str
    target: str
    input_choice: InputChoice
    calibration: str
    layers: tuple[LayerReport, ...]
    float_operators: tuple[FloatOperators, ...]
    agreement: tuple[PartAgreement, ...]
    bytes_before: int
    bytes_after: int
    latency_before_ms: float
    latency_after_ms: float
    post_processing: tuple[str, ...]
    first_last: tuple[str, ...]
    seconds: float
    caution: str = ""
    saturation: str = ""
    bits_chosen: bool = False
    mixed_room: float = 0.0
    activation_bits: Mapping[str, int] = field(default_factory=dict)
    average_bits: float = 8.0
    activation_room: float = 0.0
    learned: float | None = None
    weights_learned: bool = False
    interrupted: bool = False
    kernels: Kernels = "here"
    refused: tuple[tuple[str, str], ...] = ()
    not_compared: tuple[tuple[str, str], ...] = ()
    detector: str = ""
    detections: Accuracy | None = None
    pairing: Pairing | None = None
    content: bytes = field(default=b"", repr=False)
    source: str = ""
    sha256: str = ""
    recipe: str = ""
    losses: tuple[float, ...] = field(default=(), repr=False)
    facts: tuple[LayerFacts, ...] = field(default=(), repr=False)
    peak_memory: int | None = None
    cached: bool = False

    @property
    def model(self) -> onnx.ModelProto:
        """The output, parsed anew each time."""
        model = onnx.ModelProto()
        model.ParseFromString(self.content)
        return model

    @property
    def integer_layers(self) -> int:
        """Number of weighted layers on integer kernels, or quantized where those are elsewhere."""
        return sum(layer.integer for layer in self.layers)


def compile_model(
    model: ModelLike,
    output: FilePath | None = None,
    *,
    recipe: Recipe | FilePath | None = None,
    images: ImagesLike | None = None,
    labels: FilePath | None = None,
    statistics: FilePath | None = None,
    no_statistics: bool = False,
    require_statistics: bool = False,
    anchors: FilePath | None = None,
    decoder: str | None = None,
    progress: Progress | bool | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    report: FilePath | None = None,
    cache: bool = True,
    **fields: Any,
) -> CompileResult:
    """Quantize a float detector.

    Example:
        >>> import zqc
        >>> result = zqc.compile("model.onnx", bits=4)  # writes model.w4a8.onnx, as it prints
        >>> print(result)

    Args:
        model: A float ONNX model: its path, an ``onnx.ModelProto`` or an ``onnx_ir.Model``.
        output: Where the result goes; ``MODEL.int8.onnx`` or the like beside the input by default.
            A model in memory is written nowhere by default: ``result.model`` holds what came out.
        recipe: What is asked for: a ``Recipe``, the name of a preset (``"best"``), a TOML file or a
            model that was compiled with it.
        images: Pictures to calibrate with instead of synthesised ones: a folder, an ``.npz``, an
            array of tensors (float N,C,H,W) or pixels (uint8 N,H,W,C), arrays or dicts of them one
            after another, or ONNX Runtime's ``CalibrationDataReader``.
        labels: What these pictures show, where something is learned: COCO's .json, or a folder of
            YOLO's .txt or Pascal VOC's .xml. The detector's own loss counts then.
        statistics: Trained weights (.pt, .safetensors, .weights), a twin of the model with
            BatchNorm, or a statistics card, to synthesise from.
        no_statistics: Whether structured noise is wanted even where there are statistics. Without
            any, it is taken anyhow.
        require_statistics: Whether it is an error that there are none to synthesise pictures from.
        anchors: The anchors of an SSD, to judge its detections by.
        decoder: What reads its outputs, for the same, see ``zqc.check``.
        progress: Where long work reports to: True for bars; nowhere by default.
        threads: Threads of ONNX Runtime; all cores by default.
        memory: About how much memory the process may take, in bytes or as ``"2GB"``: so many
            pictures are worked on at once. 4 GB by default.
        report: The HTML file to write a report to; none by default.
        cache: Whether synthesised pictures are kept in the user's cache folder, and taken from it;
            the output is the same.
        **fields: Fields of ``Recipe``, such as ``bits=4`` or ``effort="quick"``, in the place of
            those of ``recipe``.

    Returns:
        What was written and what it cost; ``print`` shows it as the command does.

    Raises:
        ZqcError: See ``zqc.errors``; nothing is written then, but for the model where the verdict
            or the report fails.
        TypeError: There is no such option.
    """
    started, progress = time.monotonic(), progress_of(progress)
    pixels, beside = images_of(images)
    given = CalibrationSource(
        images=pixels,
        labels=input_path(labels),
        statistics=input_path(statistics),
        no_statistics=no_statistics,
        require_statistics=require_statistics,
    )
    asked = recipe_of(recipe, fields)
    asked = replace(asked, inputs={**beside, **asked.inputs})
    asked = weighing_labels(asked, given.labels)
    bound = asked_memory(memory)
    job = _begin(model, output, asked, given, threads, progress, to_path(report), memory=bound)
    detector = detector_of(job.loaded, anchors=input_path(anchors), decoder=decoder)
    loss = detector_loss(job.loaded, detector, job.plan.recipe)
    pictures = inputs.gather(
        job.loaded,
        job.origin,
        job.plan,
        given,
        detector=detector,
        calibrate=True,
        store=user_store("pictures") if cache else None,
        progress=progress,
    )
    if given.labels is not None:
        with progress.stage(f"Reading {given.labels}"):
            pictures = with_labels(pictures, given.labels, detector)
    outcome = pipeline.run(
        job.loaded,
        job.prepared,
        job.origin.layers,
        batches_within(job.plan, pictures, job.prepared, progress),
        job.plan,
        metadata=_metadata(job, pictures),
        progress=progress,
        detector=loss,
        store=user_store("learning") if cache else None,
    )
    with progress.stage("Loading the result in ONNX Runtime, and timing it"):
        proof = _prove(job, outcome, pictures)
    if job.output is not None:  # whatever becomes of the verdict
        with atomic_write(job.output) as file:
            file.write(outcome.written.content)
    real = pixels is not None and not pictures.synthesised
    judged = _judge(
        job,
        outcome,
        pictures,
        asked,
        given,
        detector=detector,
        real=real,
        saturates=bool(proof.saturation),
        progress=progress,
    )
    result = _result(job, outcome, proof, judged, pictures, time.monotonic() - started)
    if job.report is not None:
        with progress.stage(f"Writing {job.report}"):
            _write_report(job.report, job, outcome, result, pictures.without_noise(), given)
    return result


def effective_recipe(
    model: ModelLike,
    output: FilePath | None = None,
    *,
    recipe: Recipe | None = None,
    images: ImagesLike | None = None,
    statistics: FilePath | None = None,
    no_statistics: bool = False,
    require_statistics: bool = False,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Recipe:
    """Return the recipe that ``compile_model`` would work with: the input format is known then.

    Pictures are neither synthesised nor read, and nothing is written.

    Args: See ``compile_model``.

    Raises:
        ZqcError: What would stop ``compile_model`` before there are pictures.
    """
    given = CalibrationSource(
        images=images_of(images)[0],
        statistics=input_path(statistics),
        no_statistics=no_statistics,
        require_statistics=require_statistics,
    )
    job = _begin(model, output, recipe or Recipe(), given, threads, progress or Silent())
    return job.plan.recipe


@dataclass(frozen=True)
class _Job:
    """What is known before there are pictures.

    Attributes:
        loaded: The model as it came.
        prepared: The model in the form that is quantized.
        origin: The statistics of its layers.
        plan: What is asked for; the input format is known.
        choice: How it came to be known.
        output: Where the result goes, if anywhere.
        source: The file of the model, as the user names it; empty of one in memory.
        report: Where the report goes, if anywhere.
    """

    loaded: LoadedModel
    prepared: ir.Model
    origin: Origin
    plan: Plan
    choice: InputChoice
    output: Path | None
    source: str
    report: Path | None


@dataclass(frozen=True)
class _Proof:
    """What loading and running the written file showed."""

    layers: tuple[LayerReport, ...]
    float_operators: tuple[FloatOperators, ...]
    latency_before_ms: float
    latency_after_ms: float
    saturation: str


def _begin(
    model: ModelLike,
    output: FilePath | None,
    recipe: Recipe,
    given: CalibrationSource,
    threads: int | None,
    progress: Progress,
    report: Path | None = None,
    *,
    memory: int = MEMORY,
) -> _Job:
    """Read what the user gave, and refuse what cannot work before any long work begins."""
    plan = Plan.of(recipe, threads=threads, memory=memory)
    source, path = model_of(model), to_path(output)
    read = source, given.images, given.labels, given.statistics
    check_outputs((path,), *read, report=report)
    with progress.stage(f"Loading {name_of_model(source)}"):
        loaded, origin, input_format, choice = inputs.begin(source, recipe, given, threads)
    if isinstance(source, Path) and path is None:
        path = source.with_name(f"{source.stem}.{recipe.precision}.onnx")
        check_outputs((path,), *read, report=report)
    if path is not None:
        share = recipe.bits / FLOAT_BITS
        check_space(path, _MORE_THAN_WEIGHTS * share * loaded.bytes_on_disk)
    plan = replace(plan, recipe=replace(recipe, input_format=input_format))
    with progress.stage("Preparing the model"):
        prepared, plan = pipeline.begin(loaded, plan)
    name = str(source) if isinstance(source, Path) else ""
    return _Job(loaded, prepared, origin, plan, choice, path, name, report)


def _metadata(job: _Job, pictures: ImageSet) -> dict[str, str]:
    recipe = job.plan.recipe
    return {
        "version": __version__,
        "precision": recipe.precision,
        METADATA_KEY: to_toml(_known(recipe, job.choice)),
        "source_sha256": job.loaded.sha256,
        "calibration": pictures.source,
    }


def _known(recipe: Recipe, choice: InputChoice) -> Recipe:
    """What the file says of itself: not a format that was assumed, only the order of channels."""
    if choice.origin != "assumed":
        return recipe
    return replace(recipe, input_format="BGR" if is_bgr(recipe.input_format) else "RGB")


def _prove(job: _Job, outcome: Outcome, pictures: ImageSet) -> _Proof:
    """Load the bytes that will be written, count what runs on integers, and time both models."""
    plan, written, ends = job.plan, outcome.written, job.loaded.ends
    quantized, content = written.quantized, written.content
    if not job.loaded.ends_run:
        content = written.compared
    graph = session.executed_graph(content, arm=plan.target.kernels == "arm")
    bits = bits_by_layer(outcome.candidate.model, plan.recipe, outcome.bits_of)
    if plan.target.kernels == "elsewhere":
        layers = executed.layer_reports(quantized, None, plan.excluded, bits)
        everywhere = plan.target.placement == "everywhere"
        float_operators = (
            executed.unquantized_operators(quantized, plan.excluded) if everywhere else ()
        )
    else:
        layers = executed.layer_reports(quantized, graph, plan.excluded, bits)
        float_operators = executed.float_operators(graph, plan.excluded)
    layers += executed.left_reports(ends.layers(), f"stands behind {', '.join(ends.foreign)}")
    if plan.recipe.require_integer:
        executed.require_integer(layers, float_operators)
    before, after, saturates = math.nan, math.nan, ""
    if plan.target.kernels == "here":
        before, after = _latencies(job.loaded, content, pictures)
        weight_bits = [layer.weight_bits if layer.integer else FLOAT_BITS for layer in layers]
        saturates = saturation.warning(weight_bits, cpu.features())
    return _Proof(layers, float_operators, before, after, saturates)


def _latencies(loaded: LoadedModel, content: bytes, pictures: ImageSet) -> tuple[float, float]:
    """Median latency of both models on the smallest batch, one thread, in milliseconds."""
    model, smallest = loaded.model, fixed_batch(loaded.model) or 1
    feeds = loaded.interface.taken.feeds(next(iter(Batches.of(pictures, model)))[:smallest])
    runners = [session.load(each, threads=1) for each in (loaded.runnable(), content)]
    before, after = median_latencies(runners, feeds)
    return before, after


def _judge(
    job: _Job,
    outcome: Outcome,
    pictures: ImageSet,
    asked: Recipe,
    given: CalibrationSource,
    *,
    detector: Detector,
    real: bool,
    saturates: bool,
    progress: Progress,
) -> Judged:
    """The verdict, with the command that helps most; what takes seconds is tried first."""
    loaded, plan, pictures = job.loaded, job.plan, pictures.without_noise()

    def judged(outcome: Outcome) -> Judged:
        file, parts = outcome.written, outcome.agreement
        content = file.content if loaded.ends_run else file.compared
        with progress.task("Comparing detections", len(pictures)) as task:
            return judge_compiled(
                loaded,
                content,
                pictures,
                parts,
                detector=detector,
                real=real,
                threads=plan.threads,
                task=task,
            )

    found, bits_help, tried = judged(outcome), False, ""
    if found.verdict.word in ("usable with care", "broken") and _is_below_8(outcome, plan.recipe):
        with progress.stage("Trying weights of 8 bits"):
            other = pipeline.with_other_bits(loaded, outcome, plan, 8, progress)
        wide = judged(other)
        bits_help = is_better(wide, found)
        if bits_help and wide.agreement is not None:
            tried = f"; with 8-bit weights {100 * wide.agreement.ap:.1f} %, tried"
    advice = after_compile(
        found.verdict,
        Path(loaded.name) if job.output is not None else None,
        job.output,
        asked,
        given,
        real=real,
        noise=not real and not pictures.synthesised,
        bits_help=bits_help,
        saturates=saturates,
        anchors=detector.facts.anchors_path,
    )
    verdict = found.verdict
    return replace(found, verdict=replace(verdict, reason=verdict.reason + tried, advice=advice))


def _is_below_8(outcome: Outcome, recipe: Recipe) -> bool:
    return recipe.bits < 8 or any(bits < 8 for bits in outcome.bits_of.values())


def _write_report(
    path: Path,
    job: _Job,
    outcome: Outcome,
    result: CompileResult,
    pictures: ImageSet,
    given: CalibrationSource,
) -> None:
    """Write what the result says, and what only the work itself has: pictures and histograms."""
    page = compiled_page(
        result,
        pictures=_shown(pictures, job),
        ranges=input_ranges(outcome.candidate),
        given={
            "--images": given.images if isinstance(given.images, Path) else None,
            "--labels": given.labels,
            "--statistics": given.statistics,
            "--no-statistics": given.no_statistics,
            "--require-statistics": given.require_statistics,
        },
    )
    render.write(path, page)


def _shown(pictures: ImageSet, job: _Job) -> NDArray[np.uint8] | None:
    """The first pictures as pixels (N, H, W, C); None where their channels are no colours."""
    tensors = next(pictures.batches(SHOWN_PICTURES))
    input_format = job.plan.recipe.input_format
    if not isinstance(input_format, InputFormat) or tensors.shape[1] not in (1, 3):
        return None
    return input_format.to_pixels(tensors)


def _result(
    job: _Job,
    outcome: Outcome,
    proof: _Proof,
    judged: Judged,
    pictures: ImageSet,
    seconds: float,
) -> CompileResult:
    recipe, candidate = job.plan.recipe, outcome.candidate
    first_last = {node.name for node in first_last_layers(candidate.model.graph)}
    return CompileResult(
        verdict=judged.verdict,
        output=job.output,
        precision=recipe.precision,
        target=recipe.target,
        input_choice=job.choice,
        calibration=pictures.source,
        caution=pictures.caution,
        saturation=proof.saturation,
        layers=proof.layers,
        float_operators=proof.float_operators,
        agreement=outcome.agreement,
        bytes_before=job.loaded.bytes_on_disk,
        bytes_after=len(outcome.written.content),
        latency_before_ms=proof.latency_before_ms,
        latency_after_ms=proof.latency_after_ms,
        # The user's own, without the divisions that scaled outputs bring along.
        post_processing=executed.tail_starts(candidate.equalized.model),
        first_last=tuple(n.name or "" for n in candidate.model.graph if n.name in first_last),
        seconds=seconds,
        bits_chosen=bool(outcome.bits_of),
        mixed_room=recipe.extra_bits if mixes_bits(recipe) else 0.0,
        activation_bits=candidate.ranges.mixed,
        average_bits=candidate.ranges.average_bits,
        activation_room=recipe.extra_bits if candidate.ranges.mixed else 0.0,
        learned=outcome.learned,
        weights_learned=outcome.learned is not None and recipe.learns_weights,
        interrupted=outcome.interrupted,
        kernels=job.plan.target.kernels,
        refused=tuple(candidate.equalized.refused.items()),
        not_compared=tuple(job.loaded.ends.reasons.items()),
        detector=judged.detector.text,
        detections=judged.agreement,
        pairing=judged.pairing,
        content=outcome.written.content,
        source=job.source,
        sha256=job.loaded.sha256,
        recipe=to_toml(recipe),
        losses=pictures.losses,
        facts=layer_facts(outcome.written.quantized, input_ranges(candidate)),
        peak_memory=process_memory.peak(),
        cached=pictures.kept,
    )
