"""Many recipes for one model, each compiled on its own and all judged on the same pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from zqc.commands import inputs, sweep_record
from zqc.commands.arguments import (
    ImagesLike,
    ModelLike,
    images_of,
    model_of,
    name_of_model,
    progress_of,
    recipe_of,
)
from zqc.commands.detector import Detector, detector_of
from zqc.commands.inputs import CalibrationSource
from zqc.commands.labelled import labelled
from zqc.commands.made_pictures import judging
from zqc.commands.origin import Origin
from zqc.commands.sweep_record import Record, key_of
from zqc.commands.sweep_result import Run, SweepResult, ranked
from zqc.commands.sweep_work import Judge, Work, run_all
from zqc.errors import OptionError
from zqc.files.inputs import input_path
from zqc.files.places import (
    FilePath,
    check_foreign,
    check_name,
    entries,
    make_folder,
    to_path,
)
from zqc.files.store import Store, user_store
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.input_format import InputFormat
from zqc.progress import Progress, duration
from zqc.recipe.plan import Plan
from zqc.recipe.toml import to_toml
from zqc.recipe.variations import Variation, values_text, variations
from zqc.runtime import extras
from zqc.runtime.workers import workers

if TYPE_CHECKING:
    from zqc.recipe.recipe import Recipe

_SEED = 20_231
"""Of the pictures to judge on: always the same, and none that anybody takes by counting."""


def sweep(
    model: ModelLike,
    output: FilePath | None = None,
    *,
    vary: Mapping[str, Any],
    recipe: Recipe | FilePath | None = None,
    images: ImagesLike | None = None,
    labels: FilePath | None = None,
    statistics: FilePath | None = None,
    no_statistics: bool = False,
    require_statistics: bool = False,
    anchors: FilePath | None = None,
    decoder: str | None = None,
    check_images: FilePath | None = None,
    check_labels: FilePath | None = None,
    jobs: int = 1,
    dask: str | None = None,
    progress: Progress | bool | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    cache: bool = True,
    **fields: Any,
) -> SweepResult:
    """Compile a model with many recipes, and judge all files on the same pictures.

    The recipes are independent of each other: they can be compiled in several processes, or by the
    workers of a Dask cluster, and every file is the one that ``zqc.compile`` makes of its recipe.
    A sweep that was cut short goes on: what stands in the folder, by the same version from the
    same model and arguments, is not made again.

    Example:
        >>> import zqc
        >>> print(zqc.sweep("model.onnx", vary={"bits": (4, 3), "seed": (0, 1, 2)}))

    Args:
        model: A float ONNX model: its path, an ``onnx.ModelProto`` or an ``onnx_ir.Model``.
        output: The folder for the files; ``MODEL.sweep`` beside the input by default. It may hold
            an earlier sweep, and else has to be new or empty.
        vary: The values to try, or a single one, by the names of fields of ``Recipe``; every value
            goes with every other.
        recipe: What all have in the other fields, see ``zqc.compile``.
        images: Pictures to calibrate with, see ``zqc.compile``.
        labels: What they show, likewise.
        statistics: Likewise.
        no_statistics: Likewise.
        require_statistics: Likewise.
        anchors: The anchors of an SSD, to judge its detections by.
        decoder: What reads its outputs, for the same, see ``zqc.check``.
        check_images: Pictures to judge on; by default some are synthesised that none is calibrated
            with.
        check_labels: Labels of ``check_images``, see ``zqc.check``: then mAP decides.
        jobs: Recipes at once, each in a process of its own with its share of the cores.
        dask: Address of a Dask scheduler whose workers compile, on one thread each unless
            ``threads`` says otherwise. The model is sent to them; folders of pictures they have to
            find where they are here.
        progress: Where to report: True for bars; nowhere by default.
        threads: Threads of ONNX Runtime for each recipe.
        memory: About how much memory each may take.
        cache: Whether synthesised pictures are kept in the user's cache folder.
        **fields: Fields of ``Recipe`` for all, in the place of those of ``recipe``.

    Returns:
        Every recipe with what came of it; ``print`` shows the table that the command does.

    Raises:
        ZqcError: Nothing can be compiled, or not judged. What is wrong with one recipe alone
            stands in its ``Run.error``.
        TypeError: There is no such option.
    """
    started, progress = time.monotonic(), progress_of(progress)
    pixels, beside = images_of(images)
    base = recipe_of(recipe, fields)
    found = variations(replace(base, inputs={**beside, **base.inputs}), vary)
    if not isinstance(jobs, int) or jobs < 1:
        raise OptionError(f"jobs is {jobs!r}, but must be a whole number of 1 or more")
    if check_labels is not None and check_images is None:
        raise OptionError("--check-labels are those of --check-images; give the pictures, too")
    source, folder = model_of(model), to_path(output)
    if folder is None:
        if not isinstance(source, Path):
            raise OptionError("a model in memory has no folder beside it; give one as output")
        folder = source.with_name(f"{source.stem}.sweep")
    given = CalibrationSource(
        images=pixels,
        labels=input_path(labels),
        statistics=input_path(statistics),
        no_statistics=no_statistics,
        require_statistics=require_statistics,
    )
    anchors_file = input_path(anchors)
    options: dict[str, Any] = {
        "images": pixels,
        "labels": given.labels,
        "statistics": given.statistics,
        "no_statistics": no_statistics,
        "require_statistics": require_statistics,
        "anchors": anchors_file,
        "decoder": decoder,
        "memory": memory,
        "cache": cache,
    }
    stem = source.stem if isinstance(source, Path) else "model"
    outputs = [folder / f"{stem}.{one.name}.onnx" for one in found]
    with _made(folder):
        for path in outputs:
            check_name(path)
        with workers(dask):
            pass  # better now than when the pictures are made
        with progress.stage(f"Loading {name_of_model(source)}"):
            began = inputs.begin(source, found[0].recipe, given, threads)
            loaded = began[0]
            detector = detector_of(loaded, anchors=anchors_file, decoder=decoder)
        shown = input_path(check_images), input_path(check_labels)
        store = user_store("pictures") if cache else None
        with progress.stage("Finding the pictures to judge on"):
            judge = _judge(began[:3], found, given, detector, *shown, store, threads, progress)
        record = Record.of(folder, loaded.sha256, key_of(options, judge))
        sent = ir.to_proto(source) if isinstance(source, ir.Model) else source
        options["threads"] = _share(threads, jobs, dask)
        todo = [
            Work(one, path, options, loaded.bytes_on_disk)
            for one, path in zip(found, outputs, strict=True)
            if to_toml(one.recipe) not in record.done
        ]
        with progress.task("Sweeping", len(found)) as task:
            task.advance(steps=len(found) - len(todo))
            try:
                for run in run_all(sent, judge, todo, jobs=jobs, dask=dask, progress=progress):
                    record.add(run)
                    progress.say(_told(run))
                    task.advance()
            except KeyboardInterrupt:
                if record.done:
                    progress.say("What is finished stays, and the same command goes on from there")
                raise
    known = ((one.values, record.done[to_toml(one.recipe)]) for one in found)
    runs, best = ranked(replace(run, values=values) for values, run in known)
    return SweepResult(
        output=folder,
        judged_on=judge.text,
        runs=runs,
        best=best,
        reused=len(found) - len(todo),
        bytes_float=loaded.bytes_on_disk,
        seconds=time.monotonic() - started,
    )


def _judge(
    began: tuple[LoadedModel, Origin, InputFormat],
    found: Sequence[Variation],
    given: CalibrationSource,
    detector: Detector,
    images: Path | None,
    labels: Path | None,
    store: Store | None,
    threads: int | None,
    progress: Progress,
) -> Judge:
    """The pictures that the user names, or some that no recipe has the seed of.

    Raises:
        ZqcError: They cannot be used, which is better known before anything is compiled.
    """
    loaded, origin, form = began
    recipe = replace(found[0].recipe, input_format=form)
    if images is not None:
        named = CalibrationSource(images=images)
        plan = Plan.of(replace(recipe, samples=None), threads=threads)
        shown = inputs.gather(loaded, origin, plan, named, detector=detector, progress=progress)
        if labels is not None:
            extras.require(extras.COCO, "average precision")
            labelled(labels, shown, detector)
        return Judge(images, labels, shown.source)
    taken = {one.recipe.seed for one in found}
    seed = next(seed for seed in count(_SEED) if seed not in taken)
    known = replace(given, images=None, labels=None)
    plan = Plan.of(judging(recipe, seed=seed), threads=threads)
    made = inputs.gather(loaded, origin, plan, known, store=store, progress=progress)
    return Judge(made.read(0, len(made))[0], None, f"{made.source}, which none is calibrated with")


def _share(threads: int | None, jobs: int, dask: str | None) -> int | None:
    """Threads of a recipe: what is asked for, or its share of the cores where several have them."""
    if threads is not None or (jobs == 1 and dask is None):
        return threads
    from joblib import cpu_count

    return 1 if dask is not None else max(1, cpu_count() // jobs)


def _told(run: Run) -> str:
    """One line on what came of a recipe, as soon as it is known."""
    values = values_text(run.values)
    if run.error:
        return f"{values}: {run.error}"
    score, decibels = run.score
    found = f"{score:.1%}" if run.mean_ap is not None or run.agreement is not None else ""
    what = "mAP" if run.mean_ap is not None else "agreement"
    told = [f"{what} {found}" if found else f"{decibels:.1f} dB", f"size {run.size:.3f}"]
    return f"{values}: {', '.join(told)}, {duration(run.seconds)}"


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder for the files, which goes again where nothing came into it.

    Raises:
        OutputError: It cannot be made, or holds other files than a sweep.
    """
    made = make_folder(folder)
    if not (folder / sweep_record.NAME).is_file():
        check_foreign(folder, entries(folder))
    try:
        yield
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()
