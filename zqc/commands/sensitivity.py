"""What ``zqc sensitivity`` does: which layers hurt, and what it gains and costs to spare them."""

from __future__ import annotations

import math
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.arithmetic import FLOAT_BITS
from zqc import pipeline
from zqc.commands import inputs
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
from zqc.commands.detector import detector_of
from zqc.commands.inputs import CalibrationSource
from zqc.commands.memory_bound import batches_within
from zqc.commands.sensitivity_job import Evaluator, Job
from zqc.commands.sensitivity_layers import evaluated_layers, evaluated_steps, extra_bytes
from zqc.commands.spelled import command_line, layer_options
from zqc.detection.conventions.convention import Convention
from zqc.detection.parts import output_parts
from zqc.diagnosis.cache import Cache
from zqc.diagnosis.effects import Bench, Effect
from zqc.diagnosis.evaluate import hash_of
from zqc.diagnosis.layerwise import Subject
from zqc.diagnosis.results import SensitivityResult, Step, Suggestion
from zqc.errors import ModelError, OptionError
from zqc.files.inputs import input_path
from zqc.files.places import FilePath, to_path
from zqc.model_io import model_file
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.batches import Batches
from zqc.pictures.model_input import input_name
from zqc.pipeline import Outcome
from zqc.progress import Progress, Silent, Task
from zqc.quantization.prepare import points_of
from zqc.quantization.quantize import quantize, refit
from zqc.recipe.plan import Plan
from zqc.recipe.toml import to_toml
from zqc.report.html import render
from zqc.report.html.from_sensitivity import sensitivity_page
from zqc.runtime import session

_PICTURES = 8
"""On which layers are evaluated: their order hardly changes with more, and each costs time."""

DEFAULT_BUDGET = 0.05
"""Share of the quantized file that a suggestion may cost."""


def sensitivity(
    model: ModelLike,
    *,
    recipe: Any = None,
    images: ImagesLike | None = None,
    statistics: FilePath | None = None,
    no_statistics: bool = False,
    require_statistics: bool = False,
    anchors: FilePath | None = None,
    budget: float = DEFAULT_BUDGET,
    jobs: int | None = None,
    dask: str | None = None,
    cache: FilePath | None = None,
    resume: bool = False,
    progress: Progress | bool | None = None,
    threads: int | None = None,
    report: FilePath | None = None,
    **fields: Any,
) -> SensitivityResult:
    """Find out which layers of a float detector suffer from quantization, and which to spare.

    The model is quantized as ``zqc.compile`` does it, but not written. Then every layer is
    evaluated: quantized alone, with all layers before it, and with all others quantized but this
    one at 8 bits (or float, if it has 8 bits). What is suggested is tried. Where weights would be
    learned they are only rounded here: learning takes minutes for each of these models.

    Example:
        >>> import zqc
        >>> found = zqc.sensitivity("model.onnx", bits=4)
        >>> print(found.suggestion.command)

    Args:
        model: A float ONNX model, as ``zqc.compile`` takes it.
        recipe: What is asked for, likewise.
        images: Pictures, likewise.
        statistics: Likewise.
        no_statistics: Likewise.
        require_statistics: Likewise.
        anchors: The anchors of an SSD, an ``.npy`` of (cy, cx, h, w), to compare detections.
        budget: By how much the file may grow, as a share of its size.
        jobs: Evaluations at once; as many as there are cores by default.
        dask: Address of a Dask scheduler whose workers evaluate.
        cache: Where finished evaluations are kept; the file stays. By default they are kept beside
            the model until all are done.
        resume: Whether to go on where the same call was interrupted.
        progress: Where long work reports to: True for bars; nowhere by default.
        threads: Threads of ONNX Runtime outside of the evaluations, which have one each.
        report: The HTML file to write a report to; none by default.
        **fields: Fields of ``Recipe``, such as ``bits=4``, in the place of those of ``recipe``.

    Returns:
        Every layer, and what to do; ``print`` shows it as the command does.

    Raises:
        ZqcError: See ``zqc.errors``.
        TypeError: There is no such option.
    """
    started, progress = time.monotonic(), progress_of(progress)
    if not 0 < budget < math.inf:
        raise OptionError(f"budget is {budget:g}, but must be above 0, such as 0.05")
    pixels, beside = images_of(images)
    given = CalibrationSource(
        images=pixels,
        statistics=input_path(statistics),
        no_statistics=no_statistics,
        require_statistics=require_statistics,
    )
    asked = recipe_of(recipe, fields)
    asked = replace(asked, inputs={**beside, **asked.inputs})
    source, plan = model_of(model), Plan.of(asked, threads=threads)
    page, read = to_path(report), (source, pixels, given.statistics, input_path(anchors))
    check_outputs((to_path(cache),), *read, report=page)
    kept = cache_path(source, to_path(cache))
    with progress.stage(f"Loading {name_of_model(source)}"):
        loaded, origin, input_format, choice = inputs.begin(source, asked, given, threads)
    recipe = replace(asked, input_format=input_format)
    plan = replace(plan, recipe=recipe)
    with progress.stage("Preparing the model"):
        prepared, plan = pipeline.begin(loaded, plan)
    detector = detector_of(loaded, anchors=input_path(anchors), whole=False)
    convention = detector.convention
    pictures = inputs.gather(loaded, origin, plan, given, detector=detector, progress=progress)
    batches = batches_within(plan, pictures, prepared, progress)
    outcome = pipeline.run(
        loaded,
        prepared,
        origin.layers,
        batches,
        plan,
        metadata={},
        progress=progress,
        keep_moments=True,
        learn=False,
    )
    plan = plan.with_bits(outcome.bits_of)
    with progress.stage("Taking the model apart"):
        job = _job(loaded, plan, batches, outcome, convention)
    store = Cache(hash_of(job.subject.quantizable, job.bench), kept, resume=resume)
    evaluator = Evaluator(job, store, jobs, dask, progress)
    layers, everything, prices = evaluated_layers(evaluator, extra_bytes(job))
    spent = int(budget * len(outcome.written.content))
    steps, best = evaluated_steps(evaluator, prices, everything, spent)
    with progress.task("Trying what is suggested", len(batches)) as task:
        advice = _tried(job, best or Step((), 0, everything), convention, task)
    same = [] if anchors is None else [f"--anchors {shlex.quote(str(anchors))}"]
    line = command_line("compile", source, asked, given, [*advice.options, *same])
    if budget != DEFAULT_BUDGET:
        same.append(f"--budget {budget:g}")
    result = SensitivityResult(
        model=name_of_model(source),
        precision=plan.recipe.precision,
        target=plan.recipe.target,
        input_choice=choice,
        calibration=pictures.source,
        pictures=sum(map(len, job.bench.batches)),
        all_pictures=len(pictures),
        convention="" if convention is None else convention.name,
        detections=sum(int((found.scores > _CONFIDENT).sum()) for found in job.bench.found),
        everything=everything,
        layers=layers,
        steps=steps,
        budget=spent,
        suggestion=replace(advice, command=line),
        seconds=time.monotonic() - started,
        cache=kept if cache is not None else None,
        recipe=to_toml(recipe),
        command=command_line("sensitivity", source, asked, given, same),
    )
    if page is not None:
        with progress.stage(f"Writing {page}"):
            render.write(page, sensitivity_page(result))
    if cache is None:
        store.remove()
    return result


_CONFIDENT = 0.3
"""The score from which a detection of the float model counts, see ``average_precision``."""


def cache_path(source: object, asked: Path | None) -> Path | None:
    """Where evaluations are kept: where the user says, or beside the model, if it is a file."""
    if asked is not None or not isinstance(source, Path):
        return asked
    beside = source.with_name(f"{source.stem}.sensitivity.jsonl")
    return beside if os.access(beside.parent, os.W_OK) else None


def _job(
    loaded: LoadedModel,
    plan: Plan,
    batches: Batches,
    outcome: Outcome,
    convention: Convention | None,
) -> Job:
    candidate = outcome.candidate
    subject = Subject.of(candidate, outcome.written.quantized, plan)
    if not subject.layers:
        raise ModelError(
            f"{loaded.name} has no layer whose weights are quantized; `zqc inspect` lists the "
            "layers, and --keep-float may name too many"
        )
    few = batches.first(_PICTURES)
    parts = output_parts(loaded.model)
    bench = Bench.of(candidate.model, few, parts, convention, threads=plan.threads)
    return Job(loaded, plan, batches, outcome, subject, bench)


def _tried(job: Job, step: Step, convention: Convention | None, task: Task) -> Suggestion:
    """Make the file that is suggested, and compare both with the float model on all pictures."""
    floats = [name for name in step.layers if job.subject.spared[name] == FLOAT_BITS]
    bits_of = {n: job.subject.spared[n] for n in step.layers if n not in floats}
    before = job.outcome.written
    contents = [before.compared]
    size = len(before.content)
    if step.layers:
        quantized = _quantized_anew(job, floats, bits_of)
        contents.append(job.content(quantized))
        size = len(model_file.serialize(job.lowered(quantized), metadata={}, source=job.loaded))
    else:
        contents = contents[:1]
    effects = _measured(job, contents, convention, task)
    return Suggestion(
        layers=step.layers,
        bits=FLOAT_BITS if floats else max(bits_of.values(), default=0),
        options=layer_options(floats, bits_of),
        command="",
        extra_bytes=step.extra_bytes,
        predicted=step.effect,
        bytes_before=len(before.content),
        bytes_after=size,
        before=effects[0],
        measured=effects[-1],
    )


def _quantized_anew(job: Job, floats: Sequence[str], bits_of: Mapping[str, int]) -> ir.Model:
    """What ``zqc compile`` makes of the model with these options."""
    candidate = job.outcome.candidate
    plan = job.plan.excluding({*job.plan.excluded, *floats})
    points = {name for point in points_of(job.model, plan) for name in point.names}
    grids = {name: grid for name, grid in candidate.ranges.grids.items() if name in points}
    ranges = replace(candidate.ranges, grids=grids)
    if plan.recipe.refits:
        bits_of, silent = {**plan.bits_of, **bits_of}, Silent()
        with silent.task("", 0) as task:
            return refit(job.model, ranges, plan, job.batches, bits_of=bits_of, task=task)
    return quantize(job.model, ranges, plan, means=candidate.means, bits_of=bits_of)


def _measured(
    job: Job, contents: Sequence[bytes], convention: Convention | None, task: Task
) -> list[Effect]:
    """Run files as they are, over all pictures."""
    model, feeds = job.loaded.model, job.loaded.interface.taken.feeds
    threads, parts = job.plan.threads, output_parts(model)
    reference = session.load(model, threads=threads)
    runners = [session.load(content, threads=threads) for content in contents]
    expected: list[dict[str, NDArray[np.generic]]] = []
    got: list[list[dict[str, NDArray[np.generic]]]] = [[] for _ in contents]
    for batch in job.outcome.written.batches:
        expected.append(reference({input_name(model): batch}))
        for runner, outputs in zip(runners, got, strict=True):
            outputs.append(runner(feeds(batch)))
        task.advance(steps=len(batch))
    bench = Bench.expecting(expected, parts, convention)
    return [bench.compared(outputs) for outputs in got]
