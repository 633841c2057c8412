"""The whole pipeline: a float detector goes in, a quantized one and a report come out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

import zqc
from passes.analysis.topology import edge_layers, weighted_layers
from zqc import calibration_pictures, cpu, model_io, quantization, runtime, synthesis, targets
from zqc.atomic import atomic_directory, atomic_write, check_file
from zqc.bit_choice import chosen_bits
from zqc.calibration.channel_moments import ChannelMoments
from zqc.calibration.gaussian import analytic_moments
from zqc.equalization import Equalized, equalize
from zqc.equalization_choice import calibrate_best
from zqc.errors import OptionError
from zqc.file_path import FilePath, to_path
from zqc.grids import Ranges
from zqc.images import ImageSet
from zqc.input_format import InputFormat
from zqc.output_agreement import output_agreement
from zqc.picture_input import fixed_batch, input_name, picture_shape
from zqc.progress import Progress, Silent
from zqc.recipe import BiasCorrection, Recipe
from zqc.recipe_file import METADATA_KEY, to_toml
from zqc.report import kernels, saturation
from zqc.report.latency import median_latencies
from zqc.report.pictures import write_course, write_pictures
from zqc.report.results import CompileResult, InputChoice, SynthesisResult
from zqc.synthesis import checkpoint

_NOISE_CAUTION = (
    "calibrated with structured noise, which knows nothing of what the network has learned: ranges "
    "may be far off, so check the result on real pictures; --statistics or --images do better"
)

_BATCH = 8
"""Pictures that are run at once where the model leaves its batch free."""


def compile_model(
    source: FilePath,
    output: FilePath | None = None,
    *,
    recipe: Recipe | None = None,
    images: FilePath | None = None,
    statistics: FilePath | None = None,
    no_statistics: bool = False,
    progress: Progress | None = None,
    threads: int | None = None,
) -> CompileResult:
    """Quantize a float detector.

    Args:
        source: A float ONNX model.
        output: Where the result goes; ``MODEL.int8.onnx`` or the like beside the input by default.
        recipe: What is asked for.
        images: A folder of pictures or an array file to calibrate with instead of synthesised ones.
        statistics: A statistics card or a twin of the model with BatchNorm, to synthesise from.
        no_statistics: Whether structured noise will do, for a model without any statistics.
        progress: Where long work reports to; nowhere by default.
        threads: Threads of ONNX Runtime; all cores by default.

    Raises:
        ZqcError: See ``zqc.errors``; nothing is written then.
    """
    started = time.monotonic()
    recipe, progress = recipe or Recipe(), progress or Silent()
    source, output = to_path(source), to_path(output)
    target = targets.find(recipe.target)
    target.check(recipe)
    given = calibration_pictures.Source(
        images=to_path(images), statistics=to_path(statistics), no_statistics=no_statistics
    )
    loaded, origin, input_format, choice = _begin(source, recipe, given, threads)
    output = _output(source, output, recipe)
    recipe = replace(recipe, input_format=input_format)

    model = quantization.prepare(loaded.model, recipe)
    kept = quantization.kept_float(model, recipe.keep_float)
    pictures = calibration_pictures.gather(
        loaded.model, origin, recipe, input_format, given, progress=progress, threads=threads
    )
    batches = partial(_batches, pictures, model)
    means_from = _means_from(recipe, origin, pictures)
    asks_for_statistics = "statistics" in (recipe.equalization, means_from)
    analytic = analytic_moments(model, origin.layers) if asks_for_statistics else {}
    forms = equalize(model, recipe, kept, batches, analytic, threads=threads)
    best = calibrate_best(
        forms,
        recipe,
        kept,
        batches,
        partial(_means, means_from, analytic),
        pictures=len(pictures),
        progress=progress,
        threads=threads,
    )
    model, ranges, equalized = best.model, best.ranges, best.equalized
    metadata = _metadata(loaded, recipe, pictures)
    bits_of: Mapping[str, int] = {}
    if recipe.target_size is not None or recipe.target_latency is not None:
        bits_of = chosen_bits(
            model, loaded, ranges, recipe, kept, batches, metadata=metadata, threads=threads
        )
    if recipe.rounding == "refitted" or recipe.bias_correction == "outputs":
        with progress.task("Refitting", len(weighted_layers(model.graph))) as task:
            quantized = quantization.refit(
                model, ranges, recipe, kept, batches, bits_of=bits_of, task=task, threads=threads
            )
    else:
        quantized = quantization.quantize(
            model, ranges, recipe, kept, means=best.means, bits_of=bits_of
        )
    lowered = quantization.lower(quantized, recipe)

    # Everything is proven on the bytes; only then does the file appear.
    content = model_io.serialize(lowered, metadata=metadata)
    executed = runtime.executed_graph(content, arm=target.kernels == "arm")
    layers = kernels.layer_reports(
        quantized, executed, kept, quantization.bits_by_layer(model, recipe, bits_of)
    )
    float_operators = kernels.float_operators(executed, kept)
    if recipe.require_integer:
        kernels.require_integer(layers, float_operators)
    with progress.task("Comparing", len(pictures)) as task:
        compared = partial(_batches, pictures, lowered)
        agreement = output_agreement(loaded.model, content, compared, task=task, threads=threads)
    before, after = math.nan, math.nan
    if target.kernels == "here":
        before, after = _latencies(loaded.model, content, pictures)
    with atomic_write(output) as file:
        file.write(content)
    edges = {node.name for node in edge_layers(model.graph)}
    return CompileResult(
        output=output,
        precision=recipe.precision,
        target=recipe.target,
        input_choice=choice,
        calibration=pictures.source,
        caution=_NOISE_CAUTION if no_statistics else "",
        saturation=saturation.warning(layers, recipe.target, cpu.features()),
        layers=layers,
        float_operators=float_operators,
        agreement=agreement,
        bytes_before=loaded.bytes_on_disk,
        bytes_after=len(content),
        latency_before_ms=before,
        latency_after_ms=after,
        post_processing=kernels.tail_starts(equalized.model),  # the user's, without divisions
        first_last=tuple(node.name or "" for node in model.graph if node.name in edges),
        seconds=time.monotonic() - started,
        bits_chosen=bool(bits_of),
        kernels=target.kernels,
        refused=tuple(equalized.refused.items()),
    )


def effective_recipe(
    source: FilePath,
    output: FilePath | None = None,
    *,
    recipe: Recipe | None = None,
    images: FilePath | None = None,
    statistics: FilePath | None = None,
    no_statistics: bool = False,
    threads: int | None = None,
) -> Recipe:
    """Return the recipe that ``compile_model`` would work with: the input format is known then.

    Pictures are neither synthesised nor read, and nothing is written.

    Args: See ``compile_model``.

    Raises:
        ZqcError: What would stop ``compile_model`` before there are pictures.
    """
    recipe = recipe or Recipe()
    source, output = to_path(source), to_path(output)
    targets.find(recipe.target).check(recipe)
    given = calibration_pictures.Source(
        images=to_path(images), statistics=to_path(statistics), no_statistics=no_statistics
    )
    loaded, _, input_format, _ = _begin(source, recipe, given, threads)
    _output(source, output, recipe)
    recipe = replace(recipe, input_format=input_format)
    quantization.kept_float(quantization.prepare(loaded.model, recipe), recipe.keep_float)
    return recipe


def synthesize_to(
    source: FilePath,
    directory: FilePath,
    *,
    recipe: Recipe | None = None,
    statistics: FilePath | None = None,
    no_statistics: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    threads: int | None = None,
) -> SynthesisResult:
    """Write synthesised calibration pictures: PNGs to look at, ``pictures.npz`` to calibrate with.

    Ctrl-C does not lose them: the folder then holds the pictures as they are, and a checkpoint.

    Args:
        source: A float ONNX model.
        directory: Where to; it appears complete or not at all.
        recipe: What concerns the pictures is used: their number, effort, seed, input format, terms.
        statistics: A statistics card or a twin of the model with BatchNorm, to synthesise from.
        no_statistics: Whether structured noise will do, for a model without any statistics.
        resume: Whether to go on from the checkpoint in ``directory``, to the same pictures as if
            nothing had happened.
        progress: Where long work reports to; nowhere by default.
        threads: Threads of ONNX Runtime; all cores by default.

    Raises:
        ZqcError: See ``zqc.errors``; nothing is written then.
    """
    started = time.monotonic()
    recipe, progress = recipe or Recipe(), progress or Silent()
    source, directory = to_path(source), to_path(directory)
    given = calibration_pictures.Source(statistics=to_path(statistics), no_statistics=no_statistics)
    if resume and no_statistics:
        raise OptionError("structured noise is made at once; leave out --resume")
    loaded, origin, input_format, choice = _begin(source, recipe, given, threads)
    origin = synthesis.Origin((), "") if no_statistics else origin
    schedule = calibration_pictures.schedule(recipe)
    objective = calibration_pictures.objective(recipe)
    picture = picture_shape(loaded.model)
    options = checkpoint.options_of(
        loaded.sha256, origin.layers, picture, input_format, schedule, objective
    )
    saved = directory / checkpoint.NAME
    state = checkpoint.read(saved, options, schedule) if resume else None
    replaced = {checkpoint.NAME} if checkpoint.is_checkpoint(saved) else set()
    with atomic_directory(directory, replaced=replaced) as folder:
        if no_statistics:
            made, tensors = None, calibration_pictures.noise(picture, recipe, input_format)
        else:
            made = synthesis.synthesize(
                loaded.model,
                origin.layers,
                picture=picture,
                input_format=input_format,
                schedule=schedule,
                objective=objective,
                progress=progress,
                threads=threads,
                state=state,
            )
            tensors = made.tensors
        write_pictures(folder, tensors, input_format, synthesised=made is not None)
        if made is not None:
            write_course(folder, made, options)
            if made.interrupted:
                checkpoint.write(folder / checkpoint.NAME, made.state, options)
    return SynthesisResult(
        directory=directory,
        count=len(tensors),
        shape=picture,
        input_choice=choice,
        source=origin.text,
        layers=len(origin.layers),
        first_loss=math.nan if made is None else made.first_loss,
        last_loss=math.nan if made is None else made.last_loss,
        seconds=time.monotonic() - started,
        stopped=None if made is None else made.stopped,
        checkpoint=saved if made is not None and made.interrupted else None,
    )


def _begin(
    source: Path, recipe: Recipe, given: calibration_pictures.Source, threads: int | None
) -> tuple[model_io.Source, synthesis.Origin, InputFormat, InputChoice]:
    """Read the model, find its statistics, and with them how pixels become input values."""
    loaded = model_io.load(source, input_shape=recipe.input_shape)
    origin = calibration_pictures.find_origin(loaded.model, recipe, given)
    if not origin.layers:
        _refuse_statistics(recipe)
    input_format, choice = calibration_pictures.find_input_format(
        loaded.model, origin, recipe, given, threads=threads
    )
    return loaded, origin, input_format, choice


def _refuse_statistics(recipe: Recipe) -> None:
    """A model without BatchNorm has no statistics to equalize or to correct biases with."""
    for option, value in (
        ("--equalization", recipe.equalization),
        ("--bias-correction", recipe.bias_correction),
    ):
        if value == "statistics":
            raise OptionError(
                f"{option} statistics needs BatchNorm statistics, and the model has none; "
                f"say {option} pictures, or give --statistics"
            )


def _means_from(recipe: Recipe, origin: synthesis.Origin, pictures: ImageSet) -> BiasCorrection:
    """What the bias correction knows means from: ``auto`` is decided here.

    Synthesised pictures do not reach the means of the statistics everywhere; pictures of the user's
    own may come from elsewhere than the training pictures.
    """
    if recipe.bias_correction != "auto":
        return recipe.bias_correction
    return "statistics" if pictures.synthesised and origin.layers else "pictures"


def _means(
    means_from: BiasCorrection,
    analytic: Mapping[str, ChannelMoments],
    ranges: Ranges,
    equalized: Equalized,
) -> Mapping[str, NDArray[np.float64]]:
    """Means of the tensors for the bias correction."""
    if means_from == "statistics":
        return equalized.scaled({name: moments.mean for name, moments in analytic.items()})
    return ranges.means if means_from == "pictures" else {}


def _batches(pictures: ImageSet, model: ir.Model) -> Iterator[NDArray[np.float32]]:
    """The pictures in batches that the model takes; a fixed batch is filled by repetition."""
    fixed = fixed_batch(model)
    for batch in pictures.batches(fixed or _BATCH):
        yield np.resize(batch, (fixed, *batch.shape[1:])) if fixed else batch


def _output(source: Path, output: Path | None, recipe: Recipe) -> Path:
    """Where the result goes, which must be writable and not the input."""
    output = output or source.with_name(f"{source.stem}.{recipe.precision}.onnx")
    check_file(output)
    if output.exists() and output.samefile(source):
        raise OptionError(f"the output {output} is the input; give another one with -o")
    return output


def _latencies(model: ir.Model, content: bytes, pictures: ImageSet) -> tuple[float, float]:
    """Median latency of both models on the smallest batch, one thread, in milliseconds."""
    smallest = fixed_batch(model) or 1
    feeds = {input_name(model): next(_batches(pictures, model))[:smallest]}
    runners = [runtime.load(model, threads=1), runtime.load(content, threads=1)]
    before, after = median_latencies(runners, feeds)
    return before, after


def _metadata(loaded: model_io.Source, recipe: Recipe, pictures: ImageSet) -> dict[str, str]:
    return {
        "version": zqc.__version__,
        "precision": recipe.precision,
        METADATA_KEY: to_toml(recipe),
        "source_sha256": loaded.sha256,
        "calibration": pictures.source,
    }
