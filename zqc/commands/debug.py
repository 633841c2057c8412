"""What ``zqc debug`` does: in which layer a quantized model parts from its float model, and why."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import last_layers
from passes.arithmetic import FLOAT_BITS
from passes.graph import name_of
from zqc.commands import inputs
from zqc.commands.arguments import ImagesLike, ModelLike, images_of, model_of, progress_of
from zqc.commands.detector import detector_of
from zqc.commands.inputs import CalibrationSource
from zqc.commands.read_recipe import read_recipe
from zqc.commands.spelled import command_line
from zqc.detection.parts import output_parts
from zqc.diagnosis import layerwise, ranking
from zqc.diagnosis.counterparts import Match, channel_gains, rows
from zqc.diagnosis.effects import Bench, Effect
from zqc.diagnosis.layer_pairs import LayerPairs, layer_pairs
from zqc.diagnosis.quantized_model import QuantizedModel, Rounding, read
from zqc.diagnosis.reasons import Finding, finding, weights_db
from zqc.diagnosis.results import DebugResult, LayerDiagnosis
from zqc.diagnosis.side_by_side import Observed, observe
from zqc.diagnosis.transplant import (
    Placed,
    behind_heads,
    best_rounding,
    best_weight,
    with_layer,
)
from zqc.errors import ModelError, NoBatchNormError, OptionError
from zqc.files import FilePath, to_path
from zqc.model_io.ends import split_file
from zqc.model_io.onnx_file import as_file
from zqc.pictures.batches import Batches
from zqc.pictures.input_format import ChannelOrder, InputFormat
from zqc.pictures.model_input import input_name
from zqc.progress import Progress
from zqc.quantization.prepare import prepare
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe, values_of
from zqc.recipe.toml import to_toml
from zqc.runtime import session

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

    Returns:
        Every layer, the culprit first in ``ranked``; ``print`` shows it as the command does.

    Raises:
        ZqcError: See ``zqc.errors``.
    """
    pixels, beside = images_of(images)
    with as_file(model_of(float_model)) as first, as_file(model_of(quantized)) as second:
        asked = Recipe(
            input_format=input_format,
            input_shape=input_shape,
            inputs={**beside, **values_of(inputs)},
        )
        names = tuple(
            model.name if isinstance(model, Path) else "the model"
            for model in map(model_of, (float_model, quantized))
        )
        made_with = _recipe_in(second)
        result, given = _debugged(
            (first, second),
            names,
            pixels,
            to_path(anchors),
            replace(_known_format(asked, made_with), samples=_PICTURES, effort="quick"),
            threads,
            progress_of(progress),
        )
    models = model_of(float_model), model_of(quantized)
    command, next_command = _commands(result, models, asked, given, anchors)
    return replace(
        result,
        recipe="" if made_with is None else to_toml(made_with),
        command=command,
        next_command=next_command,
    )


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
        try:
            begun = inputs.begin(paths[0], recipe, given, threads)
        except NoBatchNormError:
            given = CalibrationSource(no_statistics=True)
            begun = inputs.begin(paths[0], recipe, given, threads)
        loaded, origin, form, choice = begun
        plan = replace(plan, recipe=replace(recipe, input_format=form))
        model = prepare(loaded.model, plan)
        _, part, _ = split_file(paths[1])
    detector = detector_of(loaded, anchors=anchors, whole=False)
    pictures = inputs.gather(loaded, origin, plan, given, detector=detector, progress=progress)
    batches = Batches.of(pictures, model).first(_PICTURES)
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
    layers = _layers(pair, seen, bench, progress)
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
        verdict=_verdict(ranked, _joined(pair.quantized) if behind else None, behind=behind),
        seconds=time.monotonic() - started,
        behind=behind,
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
        act_bits=4 if any(layer.act_bits == 4 for layer in result.layers) else 8,
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


def _layers(
    pair: LayerPairs, seen: Observed, bench: Bench, progress: Progress
) -> tuple[LayerDiagnosis, ...]:
    """Put every layer, as it is and as it could be, into the float model."""
    from joblib import Parallel, cpu_count, delayed

    jobs, odds, others = [], [], [match.layer for match in pair.found]
    for match in pair.found:
        name, output = match.layer.node.name or "", name_of(match.layer.node.outputs[0])
        places = pair.places[name]
        odds.append(finding(match, places, seen.samples, output, others))
        jobs.append((name, match.weight, match.bias, places))
    for match, odd in zip(pair.found, odds, strict=True):
        if odd.reasons:
            name = match.layer.node.name or ""
            best = tuple(
                replace(each, rounding=_possible(each, seen.samples[each.tensor]))
                for each in pair.places[name]
            )
            jobs.append((name, best_weight(match), None, best))
    effects: list[Effect] = []
    with progress.task("Trying every layer", len(jobs)) as task:
        pool = Parallel(cpu_count(), prefer="threads", return_as="generator")
        for effect in pool(delayed(_effect)(bench, pair.model, *job) for job in jobs):
            effects.append(effect)
            task.advance()
    found, excused = [], {}
    owner = {
        rounding.name: match.layer.node.name or ""
        for match in pair.found
        for rounding in match.quantized.outputs
    }
    better = iter(effects[len(pair.found) :])
    for match, odd, alone in zip(pair.found, odds, effects, strict=False):
        name = match.layer.node.name or ""
        source = match.quantized.source
        if odd.of_bias and source is not None:
            excused[name] = owner.get(source.name, "")
        possible = next(better) if odd.reasons else alone
        found.append(_layer(match, seen, odd, alone, possible))
    return ranking.with_suspects(found, excused)


def _effect(
    bench: Bench,
    model: ir.Model,
    name: str,
    weight: NDArray[np.float64],
    bias: NDArray[np.float64] | None,
    places: Sequence[Placed],
) -> Effect:
    return bench.effect(with_layer(model, name, weight, bias, places))


def _possible(place: Placed, values: NDArray[np.float32]) -> Rounding:
    rounding = place.rounding
    if rounding.step.size > 1:
        return rounding
    return best_rounding(rounding, values, place.seen_through)


def _layer(
    match: Match, seen: Observed, odd: Finding, alone: Effect, possible: Effect
) -> LayerDiagnosis:
    node, quantized = match.layer.node, match.quantized
    sums = seen.sums[node.name or ""]
    output = max(quantized.outputs, key=lambda each: len(each.path), default=None)
    largest = np.abs(rows(match.layer, match.weight)).max(axis=1, initial=0.0)
    exponents = np.log2(np.maximum(largest, 2.0**-126))
    return LayerDiagnosis(
        name=node.name or "",
        op_type=node.op_type,
        counterpart=quantized.node.name or "",
        found_by=match.found_by,
        weights=match.layer.weight.size,
        weight_bits=quantized.bits,
        act_bits=FLOAT_BITS if quantized.source is None else quantized.source.bits,
        weight_gain=float(np.median(channel_gains(match.layer, match.weight))),
        weights_db=weights_db(match.layer, match.weight),
        weight_exponents=(float(exponents.min()), float(exponents.max())),
        input_exponent=math.nan if quantized.source is None else quantized.source.exponent,
        output_exponent=math.nan if output is None else output.exponent,
        clipped=sums.clipped,
        histogram=None if output is None else layerwise.bars(sums.histogram, *output.bounds),
        local_db=sums.local_db,
        cumulative_db=sums.cumulative_db,
        alone=alone,
        possible=possible,
        reasons=odd.reasons,
        severe=odd.severe,
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


def _joined(quantized: QuantizedModel) -> Rounding | None:
    """The coarsest rounding that stands neither before nor right behind a layer, if any does."""
    of_layers = {r.name for x in quantized.layers for r in (*x.outputs, x.source) if r is not None}
    others = [r for r in quantized.roundings.values() if r.name not in of_layers]
    behind = [r for r in others if r.source in quantized.behind]
    return max(behind, key=lambda each: float(each.step_back.max()), default=None)


def _verdict(ranked: Sequence[LayerDiagnosis], joined: Rounding | None, *, behind: bool) -> str:
    first = ranked[0]
    if first.suspect:
        others = sum(layer.suspect for layer in ranked) - 1
        more = f" ({others} more {'layer is' if others == 1 else 'layers are'} out of order)"
        return f"the culprit is {first.name}: {'; '.join(first.reasons)}{more if others else ''}"
    if first.severe and not behind:
        return (
            f"{first.name} is out of order, though it hardly harms the outputs on these pictures: "
            f"{'; '.join(first.reasons)}"
        )
    if behind:
        why = "outputs may have been swapped there, or computed otherwise"
        if joined is not None:
            why = (
                f"{joined.source} is quantized there as a whole, in steps of "
                f"{float(joined.step_back.max()):.3g}, and scores that are smaller vanish"
            )
        return (
            f"no layer is out of order, but what is computed behind the last ones, such as "
            f"{first.name}, differs: {why}"
        )
    return (
        "no layer is out of order for the bits it has; the one that harms most is "
        f"{first.name} ({first.weight_bits} bits)"
    )
