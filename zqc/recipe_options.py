"""The options of the command line that make up a recipe."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zqc import options
from zqc.options import group
from zqc.recipe import (
    BIAS_CORRECTIONS,
    BITS,
    EFFORTS,
    EQUALIZATIONS,
    INSERT_FACTORS,
    PRESETS,
    ROUNDINGS,
    SHIFTS,
    TARGETS,
    TERMS,
    THRESHOLDS,
    WEIGHT_BITS,
    Recipe,
)
from zqc.recipe_file import read_recipe
from zqc.sections import option_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEFAULT = Recipe()
"""What the help calls the defaults."""

_precision, _quantization, _pictures = map(
    option_of, ("Precision", "Quantization", "Calibration pictures")
)


def _choice(choices: Sequence[object]) -> click.Choice[str]:
    return click.Choice([str(choice) for choice in choices])


def _whole(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    return int(value)


recipe_option = click.option(
    "--recipe",
    metavar="FILE_OR_PRESET",
    help=f"Where options not given come from: {', '.join(PRESETS)}, a TOML file (--dry-run prints"
    " one), or a model that zqc has compiled.",
)

precision_options = group(
    _precision(
        "--bits",
        type=click.IntRange(min(WEIGHT_BITS), max(WEIGHT_BITS)),
        default=_DEFAULT.bits,
        show_default=True,
        help="Bits of the weights.",
    ),
    _precision(
        "--act-bits",
        type=_choice(BITS),
        callback=_whole,
        default=str(_DEFAULT.act_bits),
        show_default=True,
        help="Bits of the activations.",
    ),
    _precision(
        "--first-last-bits",
        type=_choice(BITS),
        callback=_whole,
        default=str(_DEFAULT.first_last_bits),
        show_default=True,
        help="Bits of the first and the last layers.",
    ),
    _precision(
        "--target-size",
        type=float,
        metavar="SHARE",
        help="Choose bits by layer for a file of this share of the float file, such as 0.2.",
    ),
    _precision(
        "--target-latency",
        type=float,
        metavar="SHARE",
        help="Choose bits by layer for this share of the float model's latency.",
    ),
    _precision(
        "--keep-float",
        multiple=True,
        metavar="GLOB",
        help="Keep layers whose names match in float; may be repeated.",
    ),
)

quantization_options = group(
    _quantization(
        "--equalization",
        type=_choice(EQUALIZATIONS),
        default=_DEFAULT.equalization,
        show_default=True,
        help="Scale channels to a common range, known from BatchNorm or seen in the pictures.",
    ),
    _quantization(
        "--insert-factors",
        type=_choice(INSERT_FACTORS),
        default=_DEFAULT.insert_factors,
        show_default=True,
        help="Let equalization multiply channels behind SiLU and the like; auto: below 8 bits.",
    ),
    _quantization(
        "--shift",
        type=_choice(SHIFTS),
        default=_DEFAULT.shift,
        show_default=True,
        help="Shift the grids of tensors that reach a little below zero.",
    ),
    _quantization(
        "--threshold",
        type=_choice(THRESHOLDS),
        default=_DEFAULT.threshold,
        show_default=True,
        help="Error whose minimum is the threshold of an activation; none clips nothing.",
    ),
    _quantization(
        "--lp",
        type=int,
        metavar="P",
        default=_DEFAULT.lp,
        show_default=True,
        help="The power of --threshold lp.",
    ),
    _quantization(
        "--z-score",
        type=float,
        metavar="Z",
        help="Leave out values beyond Z standard deviations; usual are 5 to 20."
        "  [default: leave out none]",
    ),
    _quantization(
        "--rounding",
        type=_choice(ROUNDINGS),
        default=_DEFAULT.rounding,
        show_default=True,
        help="Round weights to the nearest, or so that a layer's errors compensate each other.",
    ),
    _quantization(
        "--bias-correction",
        type=_choice(BIAS_CORRECTIONS),
        default=_DEFAULT.bias_correction,
        show_default=True,
        help="Where the means come from that are corrected.",
    ),
    _quantization(
        "--second-moments/--no-second-moments",
        default=_DEFAULT.second_moments,
        help="Correct the deviations of outputs, too.",
    ),
)

target_option = click.option(
    "--target",
    type=_choice(TARGETS),
    default=_DEFAULT.target,
    show_default=True,
    help="The runtime that the result is for.",
)

synthesis_options = group(
    _pictures(
        "--samples",
        type=int,
        metavar="N",
        help="Number of calibration pictures.  [default: by effort]",
    ),
    _pictures(
        "--seed", type=int, default=_DEFAULT.seed, show_default=True, help="Seed of the synthesis."
    ),
    _pictures(
        "--effort",
        type=_choice(EFFORTS),
        default=_DEFAULT.effort,
        show_default=True,
        help="How long the synthesis works.",
    ),
    _pictures(
        "--bn-terms",
        type=_choice(TERMS),
        default=_DEFAULT.bn_terms,
        show_default=True,
        help="BatchNorm statistics that the pictures match.",
    ),
    _pictures(
        "--tie-channels/--no-tie-channels",
        default=_DEFAULT.tie_channels,
        help="Synthesise grey pictures, for a model that gets one channel three times.",
    ),
)


def recipe_of(
    *,
    recipe: str | None,
    input_range: tuple[float, float] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    bgr: bool,
    **same_names: Any,
) -> Recipe:
    """The recipe that ``--recipe`` names, with what stands on the command line instead.

    Only inside of a command, which knows what was given and what is a default.

    Raises:
        OptionError: See ``read_recipe``, ``options.input_format`` and ``Recipe``.
    """
    base = Recipe() if recipe is None else read_recipe(recipe)
    source_of = click.get_current_context().get_parameter_source
    given = {
        name: value
        for name, value in same_names.items()
        if source_of(name) is not ParameterSource.DEFAULT
    }
    if source_of("bgr") is ParameterSource.DEFAULT:
        bgr = base.bgr if base.input_format is None else base.input_format.bgr
    input_format = options.input_format(input_range, mean, std, bgr)
    if input_format is None and base.input_format is not None:
        input_format = dataclasses.replace(base.input_format, bgr=bgr)
    return dataclasses.replace(base, input_format=input_format, bgr=bgr, **given)
