"""Where calibration pictures come from, and what they are made with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import weighted_layers
from zqc.commands import noise as noise_text
from zqc.commands import task_specific
from zqc.commands.amounts import noise_count
from zqc.commands.detector import Detector, detector_of
from zqc.commands.kept_pictures import synthesised
from zqc.commands.memory_bound import synthesis_threads
from zqc.commands.origin import Origin, find_statistics
from zqc.commands.synthesis_job import synthesis_job
from zqc.errors import NoBatchNormError, OptionError
from zqc.files.store import Store
from zqc.model_io import model_file
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.images import ImageSet, holds_tensors, open_images
from zqc.pictures.input_format import InputFormat
from zqc.pictures.model_input import input_name, picture_shape
from zqc.pictures.structured_noise import structured_noise
from zqc.progress import Progress
from zqc.quantization.equalize import candidates_of
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe
from zqc.statistics.input_choice import InputChoice, choose_input_format


@dataclass(frozen=True, kw_only=True)
class CalibrationSource:
    """What takes the place of the model's own BatchNorm statistics: one thing, or nothing.

    Without anything, pictures are synthesised from the model's own statistics; structured noise
    has to do where it has none, or where pictures cannot be matched to them.

    Attributes:
        images: A folder of pictures, an array file or an array to calibrate with as they are.
        labels: What they show, for weights that are learned.
        statistics: Trained weights (.pt, .safetensors, .weights), a twin of the model with
            BatchNorm, or a statistics card, to synthesise from.
        no_statistics: Whether structured noise is wanted, statistics or not.
        require_statistics: Whether it is an error that pictures cannot be synthesised.

    Raises:
        OptionError: More than one is given, labels are without pictures, or statistics are required
            where none are used.
    """

    images: Path | NDArray[Any] | None = None
    labels: Path | None = None
    statistics: Path | None = None
    no_statistics: bool = False
    require_statistics: bool = False

    def __post_init__(self) -> None:
        options = {
            "--images": self.images,
            "--statistics": self.statistics,
            "--no-statistics": self.no_statistics,
        }
        given = [
            name for name, value in options.items() if value is not None and value is not False
        ]
        if len(given) > 1:
            raise OptionError(f"{' and '.join(given)} exclude each other; give one of them")
        if self.labels is not None and self.images is None:
            raise OptionError("--labels are those of --images; give the pictures, too")
        if self.require_statistics and given and self.statistics is None:
            raise OptionError(
                f"{given[0]} and --require-statistics exclude each other; give one of them"
            )


def find_origin(model: ir.Model, recipe: Recipe, source: CalibrationSource) -> Origin:
    """Find the statistics of the layers; none where the model has none and need not have any.

    Raises:
        ZqcError: See ``find_statistics``.
    """
    try:
        return find_statistics(model, source.statistics, input_format=recipe.input_format)
    except NoBatchNormError:
        if source.require_statistics or source.statistics is not None:
            raise
        return Origin((), "")


def find_input_format(
    loaded: LoadedModel,
    origin: Origin,
    recipe: Recipe,
    source: CalibrationSource,
    *,
    threads: int | None,
) -> tuple[InputFormat, InputChoice]:
    """How pixels become input values: as the options say, the card, or the statistics.

    Raises:
        ZqcError: See ``choose_input_format``.
    """
    known = isinstance(recipe.input_format, InputFormat)
    if not known and origin.input_format is not None:
        return origin.input_format, InputChoice(str(origin.input_format), "card")
    picture = loaded.interface.taken.picture
    return choose_input_format(
        loaded.model,
        origin.layers,
        asked=recipe.input_format,
        ask=source.images is None or not holds_tensors(source.images, picture.name),
        pixels=picture.holds_pixels,
        threads=threads,
    )


def gather(
    loaded: LoadedModel,
    origin: Origin,
    plan: Plan,
    source: CalibrationSource,
    *,
    detector: Detector | None = None,
    calibrate: bool = False,
    store: Store | None = None,
    progress: Progress,
) -> ImageSet:
    """Open the given pictures, or make some; the plan knows the input format.

    Where statistics are known, pictures to calibrate with are synthesised ones and structured
    noise together: thresholds then hold what either kind shows, and means come from the statistics.
    Task-specific pictures stay among themselves.

    Synthesised ones that a store has are taken from there, and others are kept in it.

    Those for an input of 8-bit pixels are whole numbers. How pictures of another size get into the
    input, the detector says where the recipe does not.

    Raises:
        ZqcError: Pictures cannot be used, or the synthesis failed.
        KeyboardInterrupt: Ctrl-C came during the synthesis.
    """
    found = _gather(loaded, origin, plan, source, detector, store, progress, calibrate=calibrate)
    return found.rounded() if loaded.interface.taken.picture.holds_pixels else found


def _gather(
    loaded: LoadedModel,
    origin: Origin,
    plan: Plan,
    source: CalibrationSource,
    detector: Detector | None,
    store: Store | None,
    progress: Progress,
    *,
    calibrate: bool,
) -> ImageSet:
    model, recipe = loaded.model, plan.recipe
    picture = picture_shape(model)
    input_format = recipe.input_format
    assert isinstance(input_format, InputFormat)  # ``begin`` found it
    if source.images is not None:
        channels, height, width = picture
        return open_images(
            source.images,
            channels=channels,
            height=height,
            width=width,
            input_format=input_format,
            mode=(detector or detector_of(loaded)).fit(recipe.fit),
            limit=recipe.samples,
            input_name=input_name(model),
        )
    if source.no_statistics:
        task_specific.refuse_noise(recipe)
        return _noise_set(picture, recipe, input_format, noise_text.ASKED_FOR)
    why, job = noise_text.NO_STATISTICS, None
    if origin.layers:
        job = synthesis_job(
            loaded, origin, recipe, detector=detector, progress=progress, threads=plan.threads
        )
        if source.require_statistics:
            job.reach.required()
        why = job.reach.shortfall
    if job is None or not job.reach.layers:
        task_specific.refuse_noise(recipe, why)
        noise_text.announce(why, progress)
        return _noise_set(picture, recipe, input_format, noise_text.caution(why))
    made = synthesised(
        loaded,
        job,
        input_format,
        store=store,
        progress=progress,
        threads=synthesis_threads(model, plan.threads, plan.memory),
        afterwards=partial(_seconds_afterwards, model, plan),
    )
    first_loss, last_loss = made.losses[0], made.losses[-1]
    kind = "task-specific pictures" if recipe.task_specific else "pictures"
    text = (
        f"{len(made.tensors)} {kind} synthesised from {origin.text} "
        f"(loss {first_loss:.3g} → {last_loss:.3g}, seed {recipe.seed})"
    )
    tensors = made.tensors
    calibrate &= not recipe.task_specific
    free = noise(picture, recipe, input_format) if calibrate else tensors[:0]
    if calibrate:
        tensors = np.concatenate([tensors, free])
        text += f", and {len(free)} of structured noise"
    text += f"; {why}" if why else ""
    return ImageSet.of_tensors(
        tensors,
        text,
        synthesised=True,
        noise=len(free),
        losses=made.losses,
        labels=made.labels,
        caution=noise_text.caution_of_losses(first_loss, last_loss),
        kept=made.kept,
    )


def _noise_set(
    picture: tuple[int, int, int], recipe: Recipe, input_format: InputFormat, caution: str
) -> ImageSet:
    tensors = noise(picture, recipe, input_format)
    text = f"{len(tensors)} pictures of structured noise (seed {recipe.seed})"
    return ImageSet.of_tensors(tensors, text, caution=caution)


def noise(
    picture: tuple[int, int, int], recipe: Recipe, input_format: InputFormat
) -> NDArray[np.float32]:
    """Structured noise as input tensors, for a model without statistics to synthesise from."""
    channels, height, width = picture
    count = noise_count(recipe, picture)
    drawn = (1 if recipe.tie_channels else channels, height, width)
    pixels = structured_noise(count, drawn, recipe.seed)
    return input_format.unit_to_tensor(np.broadcast_to(pixels, (count, *picture)))


def begin(
    source: Path | onnx.ModelProto | ir.Model,
    recipe: Recipe,
    given: CalibrationSource,
    threads: int | None,
) -> tuple[LoadedModel, Origin, InputFormat, InputChoice]:
    """Read the model, find its statistics, and with them how pixels become input values."""
    loaded = model_file.load(source, input_shape=recipe.input_shape, inputs=recipe.inputs)
    origin = find_origin(loaded.model, recipe, given)
    if not origin.layers:
        _refuse_statistics(recipe)
    input_format, choice = find_input_format(loaded, origin, recipe, given, threads=threads)
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


def _seconds_afterwards(model: ir.Model, plan: Plan, step: float) -> float:
    """Roughly how long a compilation takes once there are pictures, for a step of so many seconds.

    Fitted to two detectors: calibration runs the model as ten steps do, and weights take a quarter
    of a second a layer; good for a factor of two, which an estimate can be off by.
    """
    return candidates_of(plan) * (10 * step + 0.25 * len(weighted_layers(model.graph)))
