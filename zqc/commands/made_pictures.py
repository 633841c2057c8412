"""Pictures to compare on where the user has none: synthesised, or structured noise."""

from __future__ import annotations

from dataclasses import replace

from zqc.commands import inputs
from zqc.commands.inputs import CalibrationSource
from zqc.commands.pair import Pair
from zqc.errors import ZqcError
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.images import ImageSet
from zqc.pictures.input_format import ChannelOrder, InputFormat, is_bgr
from zqc.progress import Progress
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe
from zqc.statistics.input_choice import InputChoice

COUNT = 32


def judging(recipe: Recipe, *, seed: int, count: int | None = None) -> Recipe:
    """The recipe of so many pictures, 32 by default, to judge on what another one has made."""
    return replace(recipe, effort="quick", task_specific=False, samples=count or COUNT, seed=seed)


def made_pictures(
    pair: Pair,
    asked: InputFormat | ChannelOrder,
    *,
    limit: int | None,
    threads: int | None,
    progress: Progress,
) -> tuple[ImageSet, InputFormat, InputChoice]:
    """Synthesise pictures from the float model's statistics, or else take structured noise.

    The seed is not the one that the quantized model was calibrated with, so that it has not seen
    these pictures.

    Raises:
        ModelError: The float model is none that zqc can work on.
        OptionError: The statistics leave a doubt about the input format.
        RuntimeFailure: ONNX Runtime failed.
    """
    if not isinstance(pair.loaded, LoadedModel):
        raise _told(pair.loaded)
    recipe = pair.recipe or Recipe()
    given_by_recipe = not isinstance(asked, InputFormat) and isinstance(
        recipe.input_format, InputFormat
    )
    form = recipe.input_format if given_by_recipe else asked
    if isinstance(form, InputFormat) and given_by_recipe and is_bgr(asked):
        form = replace(form, bgr=True)
    recipe = judging(replace(recipe, input_format=form), seed=recipe.seed + 1, count=limit)
    source = CalibrationSource()
    origin = inputs.find_origin(pair.loaded.model, recipe, source)
    found, choice = inputs.find_input_format(pair.loaded, origin, recipe, source, threads=threads)
    plan = Plan.of(replace(recipe, input_format=found), threads=threads)
    pictures = inputs.gather(pair.loaded, origin, plan, source, progress=progress)
    if given_by_recipe:
        choice = InputChoice(choice.name, "recipe")
    return pictures, found, choice


def _told(error: ZqcError) -> ZqcError:
    """Why no pictures can be made, with the way out."""
    return type(error)(f"{error}; give pictures with --images")
