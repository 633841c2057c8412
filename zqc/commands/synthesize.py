"""What ``zqc synthesize`` does: calibration pictures as files."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zqc.commands import inputs, task_specific
from zqc.commands.arguments import ModelLike, model_of, name_of_model, progress_of, recipe_of
from zqc.commands.inputs import CalibrationSource, begin
from zqc.commands.synthesis_job import synthesis_job
from zqc.detection.labels.coco import coco_text
from zqc.errors import OptionError
from zqc.files.atomic import atomic_directory
from zqc.files.places import FilePath, to_path
from zqc.pictures.images import png_names
from zqc.pictures.model_input import picture_shape
from zqc.progress import Progress
from zqc.recipe.recipe import Recipe
from zqc.report.pictures import write_course, write_pictures
from zqc.report.printing import Printable
from zqc.statistics.input_choice import InputChoice
from zqc.synthesis import checkpoint
from zqc.synthesis.generate import synthesize

LABELS = "labels.json"
"""The file of what task-specific pictures show."""


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
    progress: Progress | bool | None = None,
    threads: int | None = None,
    **fields: Any,
) -> SynthesisResult:
    """Write synthesised calibration pictures: PNGs to look at, ``pictures.npz`` to calibrate with.

    Task-specific ones have their labels in ``labels.json`` beside them, in the format of COCO.
    Ctrl-C does not lose them: the folder then holds the pictures as they are, and a checkpoint.

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
        progress: Where long work reports to: True for bars; nowhere by default.
        threads: Threads of ONNX Runtime; all cores by default.
        **fields: Fields of ``Recipe``, such as ``samples=32``, in the place of those of ``recipe``.

    Returns:
        Where they are and how well they match; ``print`` shows it as the command does.

    Raises:
        ZqcError: See ``zqc.errors``; nothing is written then.
        TypeError: There is no such option.
    """
    started = time.monotonic()
    recipe, progress = recipe_of(recipe, fields), progress_of(progress)
    source, directory = model_of(model), to_path(directory)
    given = CalibrationSource(
        statistics=to_path(statistics),
        no_statistics=no_statistics,
        require_statistics=not no_statistics,
    )
    if resume and no_statistics:
        raise OptionError("structured noise is made at once; leave out --resume")
    if no_statistics:
        task_specific.refuse_noise(recipe)
    with progress.stage(f"Loading {name_of_model(source)}"):
        loaded, origin, input_format, choice = begin(source, recipe, given, threads)
    picture = picture_shape(loaded.model)
    job, options, state, text = None, {}, None, ""
    saved = directory / checkpoint.NAME
    if not no_statistics:
        job = synthesis_job(loaded, origin, recipe, progress=progress, threads=threads)
        layers = job.reach.required().layers
        text = "; ".join(filter(None, (origin.text, job.reach.shortfall)))
        options = checkpoint.options_of(
            loaded.sha256, layers, picture, input_format, job.schedule, job.objective
        )
        state = checkpoint.read(saved, options, job.schedule) if resume else None
    replaced = {checkpoint.NAME} if checkpoint.is_checkpoint(saved) else set()
    with atomic_directory(directory, replaced=replaced) as folder:
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
                threads=threads,
                state=state,
            )
            tensors = made.tensors
        with progress.stage(f"Writing {directory}"):
            name = name_of_model(source)
            write_pictures(folder, tensors, input_format, synthesised=made is not None, model=name)
            if job is not None and made is not None:
                write_course(folder, made, options, model=name)
                if job.detector is not None and job.loss is not None:
                    files, classes = png_names(len(tensors)), job.loss.classes
                    names = job.detector.names
                    shown = coco_text(made.labels, files, names, classes, picture[1:])
                    (folder / LABELS).write_text(shown + "\n", encoding="utf-8")
                if made.interrupted:
                    checkpoint.write(folder / checkpoint.NAME, made.state, options)
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
