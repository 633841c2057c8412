"""What ``zqc synthesize`` does: calibration pictures as files."""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zqc.commands import inputs, task_specific
from zqc.commands.amounts import noise_count
from zqc.commands.arguments import ModelLike, model_of, name_of_model, progress_of, recipe_of
from zqc.commands.detector import Detector, detector_of
from zqc.commands.inputs import CalibrationSource, begin
from zqc.commands.kept_pictures import Kept
from zqc.commands.memory_bound import asked_memory, synthesis_threads
from zqc.commands.synthesis_job import SynthesisJob, synthesis_job
from zqc.detection.labels.coco import coco_text
from zqc.errors import OptionError
from zqc.files.atomic import atomic_directory
from zqc.files.inputs import input_path
from zqc.files.places import FilePath, check_directory, check_space, to_path
from zqc.files.store import user_store
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.images import png_names
from zqc.pictures.model_input import picture_shape
from zqc.progress import Progress
from zqc.recipe.recipe import Recipe
from zqc.report.pictures import (
    REPORT,
    REPORT_FILES,
    TENSORS,
    write_course,
    write_pictures,
    write_sheet,
)
from zqc.report.printing import Printable
from zqc.statistics.input_choice import InputChoice
from zqc.synthesis import checkpoint
from zqc.synthesis.generate import synthesize
from zqc.synthesis.loop import Schedule
from zqc.synthesis.state import State

LABELS = "labels.json"
"""The file of what task-specific pictures show."""

_BYTES_PER_VALUE = 5
"""Four for the exact tensors, and one for the PNGs, which is as much as they can take."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SynthesisResult(Printable):
    """The outcome of ``zqc.synthesize``.

    Attributes:
        directory: Where the pictures were written.
        count: Number of pictures.
        shape: Shape of one picture, (channels, height, width).
        input_choice: How pixels become input values.
        source: What they were synthesised from, in words; empty for structured noise.
        layers: Number of layers that were matched.
        first_loss: Loss before the first step; NaN for structured noise.
        last_loss: Loss after the last step.
        seconds: Wall time.
        stopped: Why the pictures are not what was asked for; None if they are.
        checkpoint: What ``resume`` goes on from; None where it cannot.
        labels: The file of what the pictures show; None where that is open.
    """

    text_by = ("zqc.report.text", "synthesized")

    directory: Path
    count: int
    shape: tuple[int, int, int]
    input_choice: InputChoice
    source: str
    layers: int
    first_loss: float
    last_loss: float
    seconds: float
    stopped: str | None = None
    checkpoint: Path | None = None
    labels: Path | None = None


def synthesize_to(
    model: ModelLike,
    directory: FilePath,
    *,
    recipe: Recipe | FilePath | None = None,
    statistics: FilePath | None = None,
    no_statistics: bool = False,
    resume: bool = False,
    anchors: FilePath | None = None,
    progress: Progress | bool | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    cache: bool = True,
    **fields: Any,
) -> SynthesisResult:
    """Write synthesised calibration pictures: PNGs to look at, ``pictures.npz`` to calibrate with.

    Task-specific ones have their labels in ``labels.json`` beside them, in the format of COCO.
    Ctrl-C does not lose them: the folder then holds the pictures as they are, and a checkpoint.
    After a crash the same call goes on from what the user's cache has of it.

    Example:
        >>> import zqc
        >>> zqc.synthesize("model.onnx", "pictures", effort="quick", progress=True)

    Args:
        model: A float ONNX model: its path, an ``onnx.ModelProto`` or an ``onnx_ir.Model``.
        directory: Where to; it appears complete or not at all.
        recipe: A ``Recipe``, the name of a preset or a TOML file, of which that is used which
            concerns the pictures: their number, effort, seed, input format, terms.
        statistics: Trained weights (.pt, .safetensors, .weights), a twin of the model with
            BatchNorm, or a statistics card, to synthesise from.
        no_statistics: Whether structured noise is wanted, for a model without any statistics.
        resume: Whether to go on from the checkpoint in ``directory``, to the same pictures as if
            nothing had happened.
        anchors: The anchors of an SSD, an ``.npy`` of (cy, cx, h, w), for task-specific pictures.
        progress: Where long work reports to: True for bars; nowhere by default.
        threads: Threads of ONNX Runtime; all cores by default.
        memory: About how much memory the process may take, in bytes or as ``"2GB"``: on so many
            threads pictures are worked on. 4 GB by default.
        cache: Whether it is kept in the user's cache folder now and then where the synthesis
            stands, and taken from it; the pictures are the same.
        **fields: Fields of ``Recipe``, such as ``samples=32``, in the place of those of ``recipe``.

    Returns:
        Where they are and how well they match; ``print`` shows it as the command does.

    Raises:
        ZqcError: See ``zqc.errors``; nothing is written then.
        TypeError: There is no such option.
    """
    started, bound = time.monotonic(), asked_memory(memory)
    recipe, progress = recipe_of(recipe, fields), progress_of(progress)
    source, directory = model_of(model), to_path(directory)
    given = CalibrationSource(
        statistics=input_path(statistics),
        no_statistics=no_statistics,
        require_statistics=not no_statistics,
    )
    _check_asked(recipe, anchors, noise=no_statistics, resume=resume)
    check_directory(directory)
    with progress.stage(f"Loading {name_of_model(source)}"):
        loaded, origin, input_format, choice = begin(source, recipe, given, threads)
    picture = picture_shape(loaded.model)
    job, options, state, text, saved = None, {}, None, "", directory / checkpoint.NAME
    store = user_store("pictures") if cache else None
    if not no_statistics:
        job = synthesis_job(
            loaded,
            origin,
            recipe,
            detector=_detector(loaded, input_path(anchors)),
            progress=progress,
            threads=threads,
        )
        layers = job.reach.required().layers
        text = "; ".join(filter(None, (origin.text, job.reach.shortfall)))
        options = checkpoint.options_of(
            loaded.sha256, layers, picture, input_format, job.schedule, job.objective
        )
        options |= _anchors(job)
        kept = Kept.of(loaded, job, input_format, store)
        state = _begun(saved if resume else None, options, job.schedule, kept, progress)
    count = noise_count(recipe, picture) if job is None else job.schedule.samples
    replaced = {*REPORT_FILES, *([checkpoint.NAME] if checkpoint.is_checkpoint(saved) else [])}
    written = {*png_names(count), TENSORS, *([LABELS] if recipe.task_specific else [])}
    check_directory(directory, replaced | written)
    check_space(directory, _BYTES_PER_VALUE * count * math.prod(picture))
    if job is None:
        made, tensors = None, inputs.noise(picture, recipe, input_format)
    else:
        made = synthesize(
            loaded.model,
            job.reach.layers,
            picture=picture,
            input_format=input_format,
            schedule=job.schedule,
            objective=job.objective,
            progress=progress,
            detector=job.loss,
            threads=synthesis_threads(loaded.model, threads, bound),
            state=state,
            keep=partial(_keep, kept),
        )
        tensors = made.tensors

    def write(folder: Path) -> None:
        write_pictures(folder, tensors, input_format, synthesised=made is not None)
        if made is None or job is None:
            return
        if job.detector is not None and job.loss is not None:
            files, classes, names = png_names(count), job.loss.classes, job.detector.names
            shown = coco_text(made.labels, files, names, classes, picture[1:])
            (folder / LABELS).write_text(shown + "\n", encoding="utf-8")
        if made.interrupted and made.stopped is not None:
            checkpoint.write(folder / checkpoint.NAME, made.state, options)

    def draw(folder: Path) -> None:
        name, synthesised = name_of_model(source), made is not None
        write_sheet(folder, tensors, input_format, synthesised=synthesised, model=name)
        if made is not None:
            write_course(folder, made, options, model=name)

    with progress.stage(f"Writing {directory}"):
        late = _written(directory, replaced, write, draw)
    if job is not None:
        kept.forget_state()
    if (made is None or made.stopped is None) and (late or (made and made.interrupted)):
        raise KeyboardInterrupt(f"interrupted; {directory} holds the finished pictures")
    return SynthesisResult(
        directory=directory,
        count=len(tensors),
        shape=picture,
        input_choice=choice,
        source=text,
        layers=0 if job is None else len(job.reach.layers),
        first_loss=math.nan if made is None else made.first_loss,
        last_loss=math.nan if made is None else made.last_loss,
        seconds=time.monotonic() - started,
        stopped=None if made is None else made.stopped,
        checkpoint=saved if made is not None and made.interrupted else None,
        labels=directory / LABELS if recipe.task_specific else None,
    )


def _check_asked(recipe: Recipe, anchors: FilePath | None, *, noise: bool, resume: bool) -> None:
    """Refuse what noise cannot be, and what would not be used."""
    if noise and resume:
        raise OptionError("structured noise is made at once; leave out --resume")
    if noise:
        task_specific.refuse_noise(recipe)
    if anchors is not None and not recipe.task_specific:
        raise OptionError(
            f"{anchors} would not be used: anchors count where pictures show objects; add "
            "--task-specific, or leave them out"
        )


def _detector(loaded: LoadedModel, anchors: Path | None) -> Detector | None:
    """What the model detects, where that needs anchors."""
    return None if anchors is None else detector_of(loaded, anchors=anchors)


def _anchors(job: SynthesisJob) -> dict[str, str]:
    """A hash of the anchors that pictures are made with, for the checkpoint."""
    anchors = None if job.detector is None else job.detector.facts.anchors
    return {} if anchors is None else {"anchors": hashlib.sha256(anchors.tobytes()).hexdigest()}


def _begun(
    saved: Path | None, options: dict[str, Any], schedule: Schedule, kept: Kept, progress: Progress
) -> State | None:
    """Where the synthesis stands: as its checkpoint says, or else the user's cache.

    Raises:
        OptionError: There is a checkpoint, but not of this synthesis, or neither has anything.
    """
    if saved is not None and saved.is_file():
        return checkpoint.read(saved, options, schedule)
    state = kept.state(progress)
    return checkpoint.read(saved, options, schedule) if saved and state is None else state


def _keep(kept: Kept, state: State, stopped: str | None) -> None:
    """Keep where the synthesis stands; a checkpoint is written once it has stopped."""
    if stopped is None:
        kept.now_and_then(state)


def _written(
    directory: Path,
    replaced: Collection[str],
    write: Callable[[Path], None],
    draw: Callable[[Path], None],
) -> bool:
    """Write the pictures, and draw what is to look at, whose failure is no reason to lose them.

    Args:
        directory: The folder.
        replaced: What of an older one may go.
        write: Writes the pictures, in a moment: Ctrl-C has to wait until it is done.
        draw: Draws the report.

    Returns:
        Whether Ctrl-C came.
    """
    interrupted = False
    with atomic_directory(directory, replaced=replaced) as folder:
        try:
            write(folder)
        except KeyboardInterrupt:
            interrupted = True
            write(folder)
        try:
            if not interrupted:
                draw(folder)
        except KeyboardInterrupt:
            interrupted = True
            shutil.rmtree(folder / REPORT, ignore_errors=True)
        except Exception as error:  # of matplotlib or Pillow, for want of memory or space, …
            shutil.rmtree(folder / REPORT, ignore_errors=True)
            logger.warning("the report on the pictures could not be drawn: %s", error)
    return interrupted
