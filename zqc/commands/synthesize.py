"""What ``zqc synthesize`` does: calibration pictures as files."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from zqc.commands import inputs
from zqc.commands.inputs import CalibrationSource, begin
from zqc.commands.origin import Origin
from zqc.errors import OptionError
from zqc.files import FilePath, atomic_directory, to_path
from zqc.pictures.model_input import picture_shape
from zqc.progress import Progress, Silent
from zqc.recipe.recipe import Recipe
from zqc.report.pictures import write_course, write_pictures
from zqc.statistics.input_choice import InputChoice
from zqc.synthesis import checkpoint
from zqc.synthesis.generate import synthesize


@dataclass(frozen=True)
class SynthesisResult:
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
    """

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
    given = CalibrationSource(statistics=to_path(statistics), no_statistics=no_statistics)
    if resume and no_statistics:
        raise OptionError("structured noise is made at once; leave out --resume")
    with progress.stage(f"Loading {source.name}"):
        loaded, origin, input_format, choice = begin(source, recipe, given, threads)
    origin = Origin((), "") if no_statistics else origin
    schedule = inputs.schedule(recipe)
    objective = inputs.objective(recipe)
    picture = picture_shape(loaded.model)
    options = checkpoint.options_of(
        loaded.sha256, origin.layers, picture, input_format, schedule, objective
    )
    saved = directory / checkpoint.NAME
    state = checkpoint.read(saved, options, schedule) if resume else None
    replaced = {checkpoint.NAME} if checkpoint.is_checkpoint(saved) else set()
    with atomic_directory(directory, replaced=replaced) as folder:
        if no_statistics:
            made, tensors = None, inputs.noise(picture, recipe, input_format)
        else:
            made = synthesize(
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
        with progress.stage(f"Writing {directory}"):
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
