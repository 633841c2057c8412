"""The options of the command line that make up a recipe."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zqc.cli import completion, options
from zqc.cli.options import F, group
from zqc.cli.sections import option_of
from zqc.commands.read_recipe import read_recipe
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat, is_bgr
from zqc.recipe.recipe import BITS, CHOICES, PRESETS, TUNED, WEIGHT_BITS, Recipe
from zqc.targets.target import ACT_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DEFAULT = Recipe()
"""What the help calls the defaults."""

_precision, _quantization, _pictures, _target, _learning = map(
    option_of, ("Precision", "Quantization", "Calibration pictures", "Target", "Learning")
)

PRESET_TABLE = {
    "Presets (--recipe)": (
        ("fast", "To try options: --effort quick --equalization none."),
        ("best", "Where minutes do not matter: thorough, sensitivity, learned."),
        ("hptq", "The stages of the paper HPTQ, to compare with it."),
    )
}
EFFORT_TABLE = {
    "Efforts (time to synthesise for examples/detector.onnx, 192x192, on 2 cores)": (
        ("quick", "16 pictures of 40 steps, and structured noise."),
        ("standard", "32 pictures of 60 steps, and structured noise."),
        ("thorough", "128 pictures of 60 steps, and structured noise."),
    )
}
"""What choices mean and cost, for the end of a help; the times are measured, see docs/recipe.md."""


def _choice(choices: Sequence[object]) -> click.Choice[str]:
    return click.Choice([str(choice) for choice in choices])


def _one_of(option: Callable[..., Callable[[F], F]], field: str, text: str) -> Callable[[F], F]:
    """The option of a field of the recipe that has few values."""
    return option(
        f"--{field.replace('_', '-')}",
        type=_choice(CHOICES[field]),
        default=getattr(_DEFAULT, field),
        show_default=True,
        help=text,
    )


def _whole(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    return int(value)


recipe_option = click.option(
    "--recipe",
    metavar="FILE_OR_PRESET",
    shell_complete=completion.recipes,
    help=f"Where options not given come from: {', '.join(PRESETS)}, a TOML file or a compiled"
    " model.",
)

precision_options = group(
    _precision(
        "--bits",
        metavar="N",
        type=click.IntRange(min(WEIGHT_BITS), max(WEIGHT_BITS)),
        default=_DEFAULT.bits,
        show_default=True,
        help=f"Bits of the weights, {min(WEIGHT_BITS)} to {max(WEIGHT_BITS)}.",
    ),
    _precision(
        "--act-bits",
        metavar="N",
        type=click.IntRange(min(ACT_BITS), max(ACT_BITS)),
        default=_DEFAULT.act_bits,
        show_default=True,
        help=f"Bits of the activations, {min(ACT_BITS)} to {max(ACT_BITS)}.",
    ),
    _precision(
        "--first-last-bits",
        type=_choice(BITS),
        callback=_whole,
        default=str(_DEFAULT.first_last_bits),
        show_default=True,
        help="Bits of first and last layers.",
    ),
    _precision(
        "--target-size",
        type=float,
        metavar="SHARE",
        help="Choose bits for a file of this share, such as 0.2.",
    ),
    _precision(
        "--target-latency",
        type=float,
        metavar="SHARE",
        help="Likewise for this share of its latency.",
    ),
    _precision(
        "--uniform-bits/--no-uniform-bits",
        default=_DEFAULT.uniform_bits,
        help="The same bits everywhere but at the edges.",
    ),
    _precision(
        "--extra-bits",
        type=float,
        metavar="SHARE",
        default=_DEFAULT.extra_bits,
        show_default=True,
        help="What mixed bits may take more.",
    ),
    _precision(
        "--keep-float",
        multiple=True,
        metavar="GLOB",
        shell_complete=completion.layer_names,
        help="Keep matching layers in float; may be repeated.",
    ),
    _precision(
        "--bits-of",
        type=options.layer_bits,
        multiple=True,
        metavar="GLOB=N",
        callback=lambda _context, _parameter, pairs: dict(pairs),
        help="Bits of matching layers' weights; may be repeated.",
    ),
)

threshold_options = group(
    _one_of(
        _quantization,
        "equalization",
        "Scale channels to a common range.",
    ),
    _one_of(
        _quantization,
        "insert_factors",
        "Scale those behind SiLU, too.",
    ),
    _one_of(
        _quantization,
        "shift",
        "Shift the grids of tensors that reach a little below zero.",
    ),
    _one_of(
        _quantization,
        "threshold",
        "Error that thresholds of activations minimise.",
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
        help="Leave out values beyond Z deviations; usual: 5–20.",
    ),
)

rounding_option = _one_of(
    _quantization,
    "rounding",
    "How weights are rounded; auto: compensated, learned where few bits need it.",
)

correction_options = group(
    _one_of(_quantization, "weight_levels", "Levels of weights of 3 and 4 bits."),
    _one_of(
        _quantization,
        "bias_correction",
        "Source of the corrected means; auto: learned below 8-bit activations.",
    ),
    _quantization(
        "--second-moments/--no-second-moments",
        default=_DEFAULT.second_moments,
        help="Correct the deviations of outputs, too.",
    ),
    _quantization(
        "--channel-outputs/--no-channel-outputs",
        default=_DEFAULT.channel_outputs,
        help="Steps by channel for outputs of the last layers.",
    ),
)

quantization_options = group(threshold_options, rounding_option, correction_options)

learning_options = group(
    _learning(
        "--loss-weights",
        type=options.weights,
        metavar="NAME=W,…",
        default="",
        help="What terms of the loss count, such as detection=0.1,heads=0.1: features,"
        " agreement, detection, heads and dampening.",
    ),
    _learning(
        "--pictures-seen",
        type=int,
        metavar="N",
        help="Pictures to look at, each as often as it takes.  [default: by effort]",
    ),
    _learning(
        "--rate",
        type=float,
        metavar="R",
        help="First step size of the weights, in their steps.  [default: by pictures]",
    ),
    _learning(
        "--ema/--no-ema",
        default=_DEFAULT.ema,
        help="Try the moving average of the weights, too.",
    ),
)

target_option = _target(
    "--target",
    metavar="NAME",
    shell_complete=completion.target_names,
    default=_DEFAULT.target,
    show_default=True,
    help="One of `zqc targets`.",
)

runtime_options = group(
    _target(
        "--min-runtime",
        metavar="VERSION",
        help="The oldest ONNX Runtime to run it.  [default: 1.23]",
    ),
    _target(
        "--reduce-range/--no-reduce-range",
        default=_DEFAULT.reduce_range,
        help="7-bit weights, for x86 CPUs with AVX2 but no VNNI.",
    ),
    _target(
        "--require-integer/--no-require-integer",
        default=_DEFAULT.require_integer,
        help="Write nothing if a layer or an operator before the post-processing stays float.",
    ),
)

_picture_options = (
    _pictures(
        "--samples",
        type=int,
        metavar="N",
        help="Number of pictures.  [default: by effort]",
    ),
    _pictures(
        "--seed",
        type=int,
        metavar="N",
        default=_DEFAULT.seed,
        show_default=True,
        help="Seed of the synthesis.",
    ),
    _one_of(_pictures, "bn_terms", "Statistics to match."),
    _pictures(
        "--tie-channels/--no-tie-channels",
        default=_DEFAULT.tie_channels,
        help="Grey pictures, for a model that gets one thrice.",
    ),
    _pictures(
        "--task-specific/--no-task-specific",
        default=_DEFAULT.task_specific,
        help="Let the pictures show objects, with labels.",
    ),
)

synthesis_options = group(
    *_picture_options[:2],
    _one_of(_pictures, "effort", "How long to synthesise."),
    *_picture_options[2:],
)

tuning_options = group(
    *_picture_options[:2],
    _pictures(
        "--effort",
        type=_choice(CHOICES["effort"]),
        default=TUNED.effort,
        show_default=True,
        help="How long to synthesise and to learn.",
    ),
    *_picture_options[2:],
)
"""Those of the command that learns longer by default."""

_BASES = {"tune": TUNED}
"""What a command begins with, where that is not the default recipe."""


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
    context = click.get_current_context()
    usual = _BASES.get(context.command.name or "", _DEFAULT)
    base = usual if recipe is None else read_recipe(recipe)
    source_of = context.get_parameter_source
    given = {
        name: value
        for name, value in same_names.items()
        if source_of(name) is not ParameterSource.DEFAULT
    }
    if source_of("bgr") is ParameterSource.DEFAULT:
        bgr = is_bgr(base.input_format)
    input_format = options.input_format(input_range, mean, std, bgr)
    if not isinstance(input_format, InputFormat) and isinstance(base.input_format, InputFormat):
        input_format = dataclasses.replace(base.input_format, bgr=bgr)
    mixing = given.keys() & {"target_size", "target_latency", "extra_bits"}
    if given.get("uniform_bits") and mixing:
        other = min(mixing).replace("_", "-")
        raise OptionError(
            f"--uniform-bits gives all layers the same bits, and --{other} is for bits that are "
            "chosen by layer; leave one of them out"
        )
    try:
        found = dataclasses.replace(base, input_format=input_format, **given)
    except OptionError as error:
        raise OptionError(_as_typed(str(error), context.command)) from error
    if "lp" in given and found.threshold != "lp":
        raise OptionError("--lp is the power of the error of --threshold lp; give both, or neither")
    return found


def _as_typed(message: str, command: click.Command) -> str:
    """What a recipe says of one of its fields, with the option that stands for it."""
    field, _, rest = message.partition(" ")
    typed = {parameter.name: parameter.opts[0] for parameter in command.params}
    return f"{typed[field]} {rest}" if field in typed else message
