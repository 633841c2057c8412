"""The whole pipeline: a float detector goes in, a quantized one and a report come out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

import zqc
from passes.topology import first_layers, last_layers
from zqc import model_io, quantization, runtime, synthesis
from zqc.atomic import atomic_directory, atomic_write, check_file
from zqc.detection.parts import output_parts
from zqc.errors import ModelError, NoBatchNormError, OptionError, RuntimeFailure
from zqc.images import ImageSet, holds_tensors, open_images
from zqc.input_format import InputFormat
from zqc.progress import Progress, Silent, Task
from zqc.recipe import Effort, Recipe
from zqc.report import kernels
from zqc.report.agreement import OutputsMeter
from zqc.report.latency import median_latencies
from zqc.report.pictures import write_course, write_pictures
from zqc.report.results import CompileResult, InputChoice, PartAgreement, SynthesisResult
from zqc.synthesis import checkpoint

_EFFORTS: dict[Effort, tuple[int, int]] = {
    "quick": (16, 40),
    "standard": (32, 100),
    "thorough": (128, 60),
}
"""Number of pictures and of optimiser steps."""

_NOISE_CAUTION = (
    "calibrated with structured noise, which knows nothing of what the network has learned: ranges "
    "may be far off, so check the result on real pictures; --statistics or --images do better"
)

_BATCH = 8
"""Pictures that are run at once where the model leaves its batch free."""


def compile_model(
    source: Path,
    output: Path | None = None,
    *,
    recipe: Recipe | None = None,
    images: Path | None = None,
    statistics: Path | None = None,
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
    _check_sources(images, statistics, no_statistics)
    loaded = model_io.load(source, input_shape=recipe.input_shape)
    output = output or source.with_name(f"{source.stem}.{recipe.precision}.onnx")
    _check_output(source, output)
    origin = _origin(loaded.model, recipe, images, statistics, no_statistics)
    input_format, choice = _input_format(loaded.model, origin, recipe, images, threads)
    recipe = replace(recipe, input_format=input_format)

    model = quantization.prepare(loaded.model, recipe)
    kept = quantization.kept_float(model, recipe.keep_float)
    points = quantization.points_of(model, recipe, kept)
    pictures = _calibration_pictures(
        loaded.model, origin, recipe, input_format, images, no_statistics, progress, threads
    )
    with progress.task("Calibrating", len(pictures)) as task:
        batches = _batches(pictures, model)
        ranges = quantization.calibrate(
            model, points, batches, recipe, pictures=len(pictures), task=task, threads=threads
        )
    quantized = quantization.quantize(model, ranges, recipe, kept)
    lowered = quantization.lower(quantized, recipe.target)

    # Everything is proven on the bytes; only then does the file appear.
    content = model_io.serialize(lowered, metadata=_metadata(loaded, recipe, pictures))
    executed = runtime.executed_graph(content)
    with progress.task("Comparing", len(pictures)) as task:
        agreement = _agreement(loaded.model, content, pictures, threads=threads, task=task)
    before, after = _latencies(loaded.model, content, pictures)
    with atomic_write(output) as file:
        file.write(content)
    edges = {node.name for node in (*first_layers(model.graph), *last_layers(model.graph))}
    return CompileResult(
        output=output,
        precision=recipe.precision,
        target=recipe.target,
        input_choice=choice,
        calibration=pictures.source,
        caution=_NOISE_CAUTION if no_statistics else "",
        layers=kernels.layer_reports(quantized, executed, kept),
        float_operators=kernels.float_operators(executed),
        agreement=agreement,
        bytes_before=loaded.bytes_on_disk,
        bytes_after=len(content),
        latency_before_ms=before,
        latency_after_ms=after,
        post_processing=kernels.tail_starts(model),
        first_last=tuple(node.name or "" for node in model.graph if node.name in edges),
        seconds=time.monotonic() - started,
    )


def synthesize_to(
    source: Path,
    directory: Path,
    *,
    recipe: Recipe | None = None,
    statistics: Path | None = None,
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
    _check_sources(None, statistics, no_statistics)
    if resume and no_statistics:
        raise OptionError("structured noise is made at once; leave out --resume")
    loaded = model_io.load(source, input_shape=recipe.input_shape)
    origin = _origin(loaded.model, recipe, None, statistics, no_statistics)
    input_format, choice = _input_format(loaded.model, origin, recipe, None, threads)
    origin = synthesis.Origin((), "") if no_statistics else origin
    schedule, objective = _schedule(recipe), _objective(recipe)
    picture = _picture_shape(loaded.model)
    options = checkpoint.options_of(
        loaded.sha256, origin.layers, picture, input_format, schedule, objective
    )
    saved = directory / checkpoint.NAME
    state = checkpoint.read(saved, options, schedule) if resume else None
    replaced = {checkpoint.NAME} if checkpoint.is_checkpoint(saved) else set()
    with atomic_directory(directory, replaced=replaced) as folder:
        if no_statistics:
            made, tensors = None, _noise(loaded.model, recipe, input_format)
        else:
            made = _synthesized(
                loaded.model, origin.layers, recipe, input_format, progress, threads, state
            )
            tensors = made.tensors
        write_pictures(folder, tensors, input_format)
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


def _origin(
    model: ir.Model,
    recipe: Recipe,
    images: Path | None,
    statistics: Path | None,
    no_statistics: bool,
) -> synthesis.Origin:
    """The statistics of the layers, which nothing but the synthesis needs to have."""
    try:
        return synthesis.find_statistics(model, statistics, input_format=recipe.input_format)
    except NoBatchNormError:
        if images is None and not no_statistics:
            raise
        return synthesis.Origin((), "")


def _input_format(
    model: ir.Model,
    origin: synthesis.Origin,
    recipe: Recipe,
    images: Path | None,
    threads: int | None,
) -> tuple[InputFormat, InputChoice]:
    """How pixels become input values: as the options say, the card, or the statistics."""
    if recipe.input_format is None and origin.input_format is not None:
        return origin.input_format, InputChoice(str(origin.input_format), "card")
    return synthesis.choose_input_format(
        model,
        origin.layers,
        given=recipe.input_format,
        bgr=recipe.bgr,
        ask=images is None or not holds_tensors(images, _input_name(model)),
        threads=threads,
    )


def _calibration_pictures(
    model: ir.Model,
    origin: synthesis.Origin,
    recipe: Recipe,
    input_format: InputFormat,
    images: Path | None,
    no_statistics: bool,
    progress: Progress,
    threads: int | None,
) -> ImageSet:
    channels, height, width = _picture_shape(model)
    if images is not None:
        return open_images(
            images,
            channels=channels,
            height=height,
            width=width,
            input_format=input_format,
            limit=recipe.samples,
            input_name=_input_name(model),
        )
    if no_statistics:
        noise = _noise(model, recipe, input_format)
        text = f"{len(noise)} pictures of structured noise (seed {recipe.seed})"
        return ImageSet.of_tensors(noise, text)
    made = _synthesized(model, origin.layers, recipe, input_format, progress, threads)
    if made.stopped is not None:
        raise KeyboardInterrupt if made.interrupted else RuntimeFailure(made.stopped)
    source = (
        f"{len(made.tensors)} pictures synthesised from {origin.text} "
        f"(loss {made.first_loss:.3g} → {made.last_loss:.3g}, seed {recipe.seed})"
    )
    return ImageSet.of_tensors(made.tensors, source)


def _synthesized(
    model: ir.Model,
    layers: Sequence[synthesis.LayerStatistics],
    recipe: Recipe,
    input_format: InputFormat,
    progress: Progress,
    threads: int | None,
    state: synthesis.State | None = None,
) -> synthesis.Synthesis:
    return synthesis.synthesize(
        model,
        layers,
        picture=_picture_shape(model),
        input_format=input_format,
        schedule=_schedule(recipe),
        objective=_objective(recipe),
        progress=progress,
        threads=threads,
        state=state,
    )


def _schedule(recipe: Recipe) -> synthesis.Schedule:
    samples, steps = _EFFORTS[recipe.effort]
    return synthesis.Schedule(recipe.samples or samples, steps, seed=recipe.seed)


def _objective(recipe: Recipe) -> synthesis.Objective:
    return synthesis.Objective(terms=recipe.bn_terms, tie_channels=recipe.tie_channels)


def _noise(model: ir.Model, recipe: Recipe, input_format: InputFormat) -> NDArray[np.float32]:
    """Structured noise, for a model that nobody has statistics of, as input tensors."""
    channels, height, width = _picture_shape(model)
    drawn = (1 if recipe.tie_channels else channels, height, width)
    count = recipe.samples or _EFFORTS[recipe.effort][0]
    pixels = synthesis.structured_noise(count, drawn, recipe.seed)
    pixels = pixels[:, ::-1] if input_format.bgr else pixels
    low, high = input_format.bounds(channels)
    return low + pixels * (high - low)


def _check_sources(images: Path | None, statistics: Path | None, no_statistics: bool) -> None:
    options = ("--images", images), ("--statistics", statistics), ("--no-statistics", no_statistics)
    given = [name for name, value in options if value]
    if len(given) > 1:
        raise OptionError(f"{' and '.join(given)} exclude each other; give one of them")


def _picture_shape(model: ir.Model) -> tuple[int, int, int]:
    shape = model.graph.inputs[0].shape
    sizes = () if shape is None else tuple(d for d in shape.dims[1:] if isinstance(d, int))
    if len(sizes) != 3:
        raise ModelError("the input is no picture of shape (N, C, H, W)")
    return sizes[0], sizes[1], sizes[2]


def _fixed_batch(model: ir.Model) -> int | None:
    shape = model.graph.inputs[0].shape
    return shape[0] if shape is not None and isinstance(shape[0], int) else None


def _batches(pictures: ImageSet, model: ir.Model) -> Iterator[NDArray[np.float32]]:
    """The pictures in batches that the model takes; a fixed batch is filled by repetition."""
    fixed = _fixed_batch(model)
    for batch in pictures.batches(fixed or _BATCH):
        yield np.resize(batch, (fixed, *batch.shape[1:])) if fixed else batch


def _check_output(source: Path, output: Path) -> None:
    check_file(output)
    if output.exists() and output.samefile(source):
        raise OptionError(f"the output {output} is the input; give another one with -o")


def _agreement(
    model: ir.Model, content: bytes, pictures: ImageSet, *, threads: int | None, task: Task
) -> tuple[PartAgreement, ...]:
    """Compare the outputs of both models over the calibration pictures."""
    source = _input_name(model)
    meter = OutputsMeter.of(output_parts(model))
    runners = [runtime.load(model, threads=threads), runtime.load(content, threads=threads)]
    for batch in _batches(pictures, model):
        expected, got = (runner({source: batch}) for runner in runners)
        meter.update(expected, got)
        task.advance(steps=len(batch))
    return meter.results()


def _latencies(model: ir.Model, content: bytes, pictures: ImageSet) -> tuple[float, float]:
    """Median latency of both models on the smallest batch, one thread, in milliseconds."""
    smallest = _fixed_batch(model) or 1
    feeds = {_input_name(model): next(_batches(pictures, model))[:smallest]}
    runners = [runtime.load(model, threads=1), runtime.load(content, threads=1)]
    before, after = median_latencies(runners, feeds)
    return before, after


def _input_name(model: ir.Model) -> str:
    name = model.graph.inputs[0].name
    assert name is not None  # model_io names every value
    return name


def _metadata(loaded: model_io.Source, recipe: Recipe, pictures: ImageSet) -> dict[str, str]:
    return {
        "version": zqc.__version__,
        "precision": recipe.precision,
        "target": recipe.target,
        "source_sha256": loaded.sha256,
        "calibration": pictures.source,
    }
