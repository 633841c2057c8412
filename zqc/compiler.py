"""The whole pipeline: a float detector goes in, a quantized one and a report come out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

import zqc
from passes.topology import first_layers, last_layers
from zqc import model_io, quantization, runtime, synthesis
from zqc.atomic import atomic_directory, atomic_write, check_file
from zqc.detection.parts import output_parts
from zqc.errors import ModelError, OptionError
from zqc.images import ImageSet, open_images, write_pngs
from zqc.progress import Progress, Silent, Task
from zqc.recipe import Effort, Recipe
from zqc.report import kernels
from zqc.report.agreement import OutputsMeter
from zqc.report.latency import median_latencies
from zqc.report.results import CompileResult, PartAgreement, SynthesisResult

_EFFORTS: dict[Effort, tuple[int, int]] = {
    "quick": (16, 80),
    "standard": (32, 200),
    "thorough": (128, 500),
}
"""Number of pictures and of optimiser steps."""

_BATCH = 8
"""Pictures that are run at once where the model leaves its batch free."""


def compile_model(
    source: Path,
    output: Path | None = None,
    *,
    recipe: Recipe | None = None,
    images: Path | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
) -> CompileResult:
    """Quantize a float detector.

    Args:
        source: A float ONNX model.
        output: Where the result goes; ``MODEL.int8.onnx`` or the like beside the input by default.
        recipe: What is asked for.
        images: A folder of pictures or an array file to calibrate with instead of synthesised ones.
        progress: Where long work reports to; nowhere by default.
        threads: Threads of ONNX Runtime; all cores by default.

    Raises:
        ZqcError: See ``zqc.errors``; nothing is written then.
    """
    started = time.monotonic()
    recipe, progress = recipe or Recipe(), progress or Silent()
    loaded = model_io.load(source, input_shape=recipe.input_shape)
    output = output or source.with_name(f"{source.stem}.{recipe.precision}.onnx")
    _check_output(source, output)

    model = quantization.prepare(loaded.model, recipe)
    kept = quantization.kept_float(model, recipe.keep_float)
    points = quantization.points_of(model, recipe, kept)
    pictures = _calibration_pictures(loaded.model, recipe, images, progress, threads)
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
        calibration=pictures.source,
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
    progress: Progress | None = None,
    threads: int | None = None,
) -> SynthesisResult:
    """Write synthesised calibration pictures: PNGs to look at, ``pictures.npz`` to calibrate with.

    Args:
        source: A float ONNX model with BatchNormalization in it.
        directory: Where to; it appears complete or not at all.
        recipe: Number of pictures, effort, seed and input convention are used.
        progress: Where long work reports to; nowhere by default.
        threads: Threads of ONNX Runtime; all cores by default.

    Raises:
        ZqcError: See ``zqc.errors``; nothing is written then.
    """
    started = time.monotonic()
    recipe, progress = recipe or Recipe(), progress or Silent()
    loaded = model_io.load(source, input_shape=recipe.input_shape)
    with atomic_directory(directory) as folder:
        layers = synthesis.harvest(loaded.model)
        made = _synthesized(loaded.model, layers, recipe, progress, threads)
        write_pngs(folder, made.tensors, recipe.input_format)
        np.savez(folder / "pictures.npz", images=made.tensors)
    return SynthesisResult(
        directory=directory,
        count=len(made.tensors),
        shape=_picture_shape(loaded.model),
        layers=len(layers),
        first_loss=made.first_loss,
        last_loss=made.last_loss,
        seconds=time.monotonic() - started,
    )


def _calibration_pictures(
    model: ir.Model,
    recipe: Recipe,
    images: Path | None,
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
            input_format=recipe.input_format,
            limit=recipe.samples,
            input_name=_input_name(model),
        )
    layers = synthesis.harvest(model)
    made = _synthesized(model, layers, recipe, progress, threads)
    source = (
        f"{len(made.tensors)} pictures synthesised from {len(layers)} BatchNorm layers "
        f"(loss {made.first_loss:.3g} → {made.last_loss:.3g}, seed {recipe.seed})"
    )
    return ImageSet.of_tensors(made.tensors, source)


def _synthesized(
    model: ir.Model,
    layers: Sequence[synthesis.LayerStatistics],
    recipe: Recipe,
    progress: Progress,
    threads: int | None,
) -> synthesis.Synthesis:
    samples, steps = _EFFORTS[recipe.effort]
    return synthesis.synthesize(
        model,
        layers,
        picture=_picture_shape(model),
        input_format=recipe.input_format,
        schedule=synthesis.Schedule(recipe.samples or samples, steps, seed=recipe.seed),
        progress=progress,
        threads=threads,
    )


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
