"""What ``zqc debug`` does: in which layer a quantized model parts from its float model, and why."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import last_layers
from zqc.commands import inputs
from zqc.commands.arguments import (
    ImagesLike,
    ModelLike,
    check_outputs,
    images_of,
    model_of,
    name_of_model,
    progress_of,
)
from zqc.commands.detector import detector_of
from zqc.commands.inputs import CalibrationSource
from zqc.commands.read_recipe import read_recipe
from zqc.commands.spelled import command_line
from zqc.detection.parts import output_parts
from zqc.diagnosis import ranking
from zqc.diagnosis.culprit import culprit
from zqc.diagnosis.effects import Bench, Effect
from zqc.diagnosis.layer_diagnoses import layer_diagnoses
from zqc.diagnosis.layer_pairs import layer_pairs
from zqc.diagnosis.read_quantized import read
from zqc.diagnosis.results import DebugResult
from zqc.diagnosis.side_by_side import Observed, observe
from zqc.diagnosis.transplant import behind_heads
from zqc.errors import ModelError, OptionError
from zqc.files.inputs import input_path
from zqc.files.places import FilePath, to_path
from zqc.model_io.any_model import split_file
from zqc.model_io.onnx_file import as_file
from zqc.pictures.batches import Batches
from zqc.pictures.input_format import ChannelOrder, InputFormat
from zqc.pictures.model_input import fixed_batch, input_name
from zqc.progress import Progress
from zqc.quantization.prepare import prepare
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe, values_of
from zqc.recipe.toml import to_toml
from zqc.report.html import render
from zqc.report.html.from_debug import debugged_page
from zqc.runtime import cpu, saturation, session

_PICTURES = 8
"""Enough for the ranges of tensors, and for an order of the layers."""


def debug(
    float_model: ModelLike,
    quantized: ModelLike,
    *,
    images: ImagesLike | None = None,
    anchors: FilePath | None = None,
    input_format: InputFormat | ChannelOrder = "RGB",
    input_shape: tuple[int, int] | None = None,
    inputs: Mapping[str, Any] | None = None,
    threads: int | None = None,
    progress: Progress | bool | None = None,
    report: FilePath | None = None,
) -> DebugResult:
    """Find the layers of a quantized model that harm its outputs, and what is wrong with them.

    Every layer of the float model is compared with its counterpart: weights, biases, grids, and
    what the outputs of the float model become with this one layer in it.

    Example:
        >>> import zqc
        >>> print(zqc.debug("model.onnx", "model.int8.onnx").verdict)

    Args:
        float_model: The float model, as ``zqc.compile`` takes it.
        quantized: What was made of it, by any tool that writes QuantizeLinear and DequantizeLinear,
            or QLinear operators.
        images: Pictures; synthesised ones by default, or structured noise where there are no
            statistics.
        anchors: The anchors of an SSD, an ``.npy`` of (cy, cx, h, w), to compare detections.
        input_format: How pixels become input values; what the recipe in the quantized model says by
            default, or else what shows, see ``zqc.compile``.
        input_shape: Height and width, where the model leaves them open.
        inputs: Values of inputs beside the picture by name.
        threads: Threads of ONNX Runtime; all cores by default.
        progress: Where long work reports to: True for bars; nowhere by default.
        report: The HTML file to write a report to; none by default.

    Returns:
        Every layer, the culprit first in ``ranked``; ``print`` shows it as the command does.

    Raises:
        ZqcError: See ``zqc.errors``.
    """
    (pixels, beside), anchors_path = images_of(images), input_path(anchors)
    progress, page = progress_of(progress), to_path(report)
    models = model_of(float_model), model_of(quantized)
    check_outputs((), *models, pixels, anchors_path, report=page)
    with as_file(models[0]) as first, as_file(models[1]) as second:
        asked = Recipe(
            input_format=input_format,
            input_shape=input_shape,
            inputs={**beside, **values_of(inputs)},
        )
        made_with = _recipe_in(second)
        result, given = _debugged(
            (first, second),
            (name_of_model(models[0]), name_of_model(models[1])),
            pixels,
            anchors_path,
            replace(_known_format(asked, made_with), samples=_PICTURES, effort="quick"),
            threads,
            progress,
        )
    command, next_command = _commands(result, models, asked, given, anchors)
    result = replace(
        result,
        recipe="" if made_with is None else to_toml(made_with),
        command=command,
        next_command=next_command,
    )
    if page is not None:
        with progress.stage(f"Writing {page}"):
            render.write(page, debugged_page(result))
    return result


def _debugged(
    paths: tuple[Path, Path],
    names: tuple[str, ...],
    images: Path | NDArray[Any] | None,
    anchors: Path | None,
    recipe: Recipe,
    threads: int | None,
    progress: Progress,
) -> tuple[DebugResult, CalibrationSource]:
    started = time.monotonic()
    plan = Plan.of(recipe, threads=threads)
    with progress.stage("Loading the models"):
        given = CalibrationSource(images=images)
        loaded, origin, form, choice = inputs.begin(paths[0], recipe, given, threads)
        plan = replace(plan, recipe=replace(recipe, input_format=form))
        model = prepare(loaded.model, plan)
        _, part, _ = split_file(paths[1])
    detector = detector_of(loaded, anchors=anchors, whole=False)
    pictures = inputs.gather(loaded, origin, plan, given, detector=detector, progress=progress)
    # A target may fix how many pictures are taken at once where the float model leaves that open.
    stricter = part if fixed_batch(model) is None else model
    batches = Batches.of(pictures, stricter).first(_PICTURES)
    feeds = loaded.interface.taken.feeds
    with progress.stage("Finding the layers of both"):
        pair = layer_pairs(model, read(part, feeds(batches[0])), names[1])
    total = sum(map(len, batches))
    with progress.task("Running both", total) as task:
        seen = observe(
            model,
            pair.quantized,
            pair.found,
            pair.places,
            batches,
            feeds=feeds,
            task=task,
            threads=threads,
        )
    known = {name for outputs in seen.got for name in outputs}
    parts = tuple(each for each in output_parts(loaded.model) if each.output in known)
    if not parts:
        raise ModelError(f"{names[1]} has none of the outputs of {names[0]}; give its float model")
    convention = detector.convention
    bench = Bench.expecting(seen.expected, parts, convention)
    bench = replace(bench, batches=tuple(batches))
    everything = bench.compared(seen.got)
    layers = layer_diagnoses(pair, seen, bench, progress)
    found = {match.layer.node.name for match in pair.found}
    last = {n.name or "" for n in last_layers(model.graph) if n.name in found}
    behind = False
    if last == {n.name for n in last_layers(model.graph)} and not any(x.suspect for x in layers):
        behind = ranking.is_behind(everything, _effect_of_heads(model, seen, bench))
    if behind:
        text = "it is as it should be, but not what is computed from its output behind it"
        layers = tuple(
            replace(each, reasons=(*each.reasons, text)) if each.name in last else each
            for each in layers
        )
    ranked = ranking.ranked(layers, last if behind else ())
    result = DebugResult(
        float_model=names[0],
        quantized=names[1],
        input_choice=choice,
        pictures=pictures.source,
        convention="" if convention is None else convention.name,
        everything=everything,
        layers=layers,
        ranked=ranked,
        not_found=pair.not_found,
        parts_at=ranking.parts_at(layers),
        verdict=culprit(ranked, pair.quantized, behind=behind),
        seconds=time.monotonic() - started,
        behind=behind,
        saturation=saturation.warning([each.weight_bits for each in layers], cpu.features()),
    )
    return result, given


def _commands(
    result: DebugResult,
    models: tuple[object, object],
    asked: Recipe,
    given: CalibrationSource,
    anchors: FilePath | None,
) -> tuple[str, str]:
    """The commands that find the same again, and that say what to do where no layer is to blame."""
    more = [] if anchors is None else [f"--anchors {shlex.quote(str(anchors))}"]
    shown, (float_model, quantized) = CalibrationSource(images=given.images), models
    same = command_line("debug", float_model, asked, shown, more, beside=[quantized])
    first = result.ranked[0]
    if result.behind or first.suspect or first.severe:
        return same, ""
    asked = replace(
        asked,
        bits=min([8, *(max(layer.weight_bits, 2) for layer in result.layers)]),
        act_bits=4 if any(layer.act_bits < 8 for layer in result.layers) else 8,
    )
    return same, command_line("sensitivity", float_model, asked, given, more)


def _recipe_in(quantized: Path) -> Recipe | None:
    """What a file was compiled with; None where it does not say."""
    try:
        return read_recipe(quantized) if quantized.suffix == ".onnx" else None
    except OptionError:
        return None


def _known_format(recipe: Recipe, made_with: Recipe | None) -> Recipe:
    """The recipe with the input format of the one in a compiled model, if there is one."""
    if isinstance(recipe.input_format, InputFormat) or made_with is None:
        return recipe
    return replace(
        recipe,
        input_format=made_with.input_format,
        input_shape=recipe.input_shape or made_with.input_shape,
        inputs=recipe.inputs or made_with.inputs,
    )


def _effect_of_heads(model: ir.Model, seen: Observed, bench: Bench) -> Effect:
    """What the float model's post-processing makes of the quantized model's last layers."""
    heads = set().union(*seen.heads)
    runner = session.load(behind_heads(model, heads), optimize=False)
    source = input_name(model)
    needed = {value.name for value in runner.session.get_inputs()}
    outputs = []
    for batch, given in zip(bench.batches, seen.heads, strict=True):
        feeds = {source: batch} | {f"{name}_given": array for name, array in given.items()}
        outputs.append(runner({name: array for name, array in feeds.items() if name in needed}))
    return bench.compared(outputs)
