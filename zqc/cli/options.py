"""Options of the command line that are in no recipe, and how their values are written."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zqc.cli.sections import option_of
from zqc.parsing.memory_size import memory_size
from zqc.parsing.text import ParseError
from zqc.pictures.input_format import FITS, ChannelOrder, InputFormat, asked_format

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = {"true": "1", "false": "0"}

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)  # whether it can be used, the library says better than click


def _numbers(value: str) -> tuple[float, ...]:
    """One number, or several with commas between them."""
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is no list of numbers such as 0.485,0.456,0.406"
        ) from error


def _range(value: str) -> tuple[float, float]:
    """Two numbers with a colon between them."""
    try:
        low, high = (float(part) for part in value.split(":"))
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is no range; write LO:HI, for example 0:1 or -1:1"
        ) from error
    return low, high


def _values(value: str) -> tuple[str, tuple[float, ...]]:
    """The name of an input, and its values with commas between them."""
    name, equals, numbers = value.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{value!r}: write NAME=VALUES, for example scale_factor=1,1")
    try:
        found = tuple(float(_WORDS.get(part.strip().lower(), part)) for part in numbers.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r}: write numbers, or true and false, with commas between them"
        ) from error
    if not all(map(math.isfinite, found)):
        raise click.BadParameter(f"{value!r}: NaN and infinity are no values of an input")
    return name, found


def layer_bits(value: str) -> tuple[str, int]:
    """A pattern of names, which may hold ``=``, and how many bits."""
    pattern, _, bits = value.rpartition("=")
    if not pattern or not bits.strip().isdecimal():
        raise click.BadParameter(f"{value!r}: write GLOB=N, for example '/stem/*=8'")
    return pattern, int(bits)


def weights(value: str) -> dict[str, float]:
    """Names and numbers with commas between them."""
    if not value:
        return {}
    pairs = [part.partition("=") for part in value.split(",")]
    names = [name.strip() for name, _, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.BadParameter(f"{value!r} has {twice} twice")
    try:
        return {name.strip(): float(number) for name, _, number in pairs}
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r}: write NAME=WEIGHT, with commas between them, such as detection=0.1,heads=0"
        ) from error


def size(value: str) -> tuple[int, int]:
    """``HxW``, ``H,W`` or the whole ``NxCxHxW``."""
    parts = value.lower().replace(",", "x").split("x")
    if len(parts) not in (2, 4) or not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(f"{value!r} is no size; write HxW, for example 640x640")
    height, width = (int(part) for part in parts[-2:])
    return height, width


def memory(value: str) -> int:
    """Bytes from an amount such as ``2GB``."""
    try:
        return memory_size(value)
    except ParseError as error:
        raise click.BadParameter(f"it {error}") from error


def group(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which ``--help`` shows them."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


_input, _pictures = option_of("Input"), option_of("Calibration pictures")

inputs_option = _input(
    "--input",
    "inputs",
    type=_values,
    multiple=True,
    metavar="NAME=VALUES",
    callback=lambda _context, _parameter, pairs: dict(pairs),
    help="Values of an input beside the picture, such as scale_factor=1,1; may be repeated.",
)

input_options = group(
    _input(
        "--input-range",
        type=_range,
        metavar="LO:HI",
        help="Values of pixels 0 and 255, as --input-range=-1:1."
        "  [default: found from BatchNorm, else 0:1]",
    ),
    _input(
        "--mean",
        type=_numbers,
        metavar="M,M,M",
        help="Mean of each channel, for normalised inputs.",
    ),
    _input(
        "--std",
        type=_numbers,
        metavar="S,S,S",
        help="Standard deviation likewise; goes with --mean.",
    ),
    _input("--bgr/--rgb", default=False, help="Order of the model's channels."),
    _input(
        "--input-shape",
        type=size,
        metavar="HxW",
        help="Height and width, where open.  [default: 640x640]",
    ),
    inputs_option,
)

fit_option = _input(
    "--fit",
    type=click.Choice(FITS),
    default="auto",
    show_default=True,
    help="How pictures of another size get into the input; auto: as the detector has it.",
)

_detector = option_of("Detector")

anchors_option = _detector(
    "--anchors",
    type=PATH,
    metavar="NPY",
    help="Anchors of an SSD: cy, cx, h, w in every row.",
)

decoder_option = _detector(
    "--decoder",
    metavar="TOML",
    help="What reads other outputs: a .toml, or module:function.",
)


images_option = _pictures(
    "--images",
    type=PATH,
    metavar="DIR_OR_NPZ",
    help="Calibrate with these instead of synthesised ones.",
)

labels_option = _pictures(
    "--labels",
    type=PATH,
    metavar="FILE_OR_DIR",
    help="Labels of --images, to learn by: COCO's .json, a folder of YOLO's .txt or Pascal VOC's"
    " .xml.",
)

statistics_options = group(
    _pictures(
        "--statistics",
        type=PATH,
        metavar="FILE",
        help="BatchNorm from a checkpoint (.pt …), twin or card.",
    ),
    _pictures(
        "--no-statistics",
        is_flag=True,
        help="Use structured noise in any case.",
    ),
)

require_statistics_option = _pictures(
    "--require-statistics",
    is_flag=True,
    help="Stop where noise would have to do.",
)

cache_option = _pictures(
    "--no-cache",
    "cache",
    flag_value=False,
    default=True,
    help="Synthesise anew, and keep no pictures.",
)

_MOST_THREADS = 1024
"""ONNX Runtime begins every thread that it is asked for, needed or not."""

_THREADS = click.IntRange(1, _MOST_THREADS)

threads_option = click.option(
    "--threads",
    type=_THREADS,
    metavar="N",
    help="Threads of ONNX Runtime.  [default: all cores]",
)

memory_option = click.option(
    "--memory",
    type=memory,
    metavar="SIZE",
    help="About how much memory to take.  [default: 4GB]",
)

bench_options = group(
    click.option(
        "--runs",
        type=click.IntRange(min=1),
        default=50,
        show_default=True,
        metavar="N",
        help="Runs of each model, which take turns.",
    ),
    click.option(
        "--provider",
        default="CPU",
        show_default=True,
        metavar="NAME",
        help="Execution provider of ONNX Runtime, such as CUDA.",
    ),
    click.option(
        "--threads",
        type=_THREADS,
        default=1,
        show_default=True,
        metavar="N",
        help="Threads of ONNX Runtime.",
    ),
    click.option(
        "--top",
        type=click.IntRange(min=0),
        metavar="N",
        help="Name so many of the slowest kernels of each model.  [default: 0, with -v 10]",
    ),
    click.option(
        "--images",
        type=PATH,
        metavar="DIR_OR_NPZ",
        help="Feed these pictures instead of random pixels.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(min=1, max=2**20),
        metavar="N",
        help="Pictures at once, for models that leave it open.  [default: 1]",
    ),
)

quantized_option = click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="The file to write.  [default: MODEL.int8.onnx, …]",
)

report_option = click.option(
    "--report",
    type=PATH,
    metavar="FILE.html",
    help="Write a report, one HTML file to pass on.",
)

output_options = group(
    click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON object, errors included.",
    ),
    click.option("-v", "--verbose", count=True, help="Tell more; -vv tells everything."),
)


def input_format(
    input_range: tuple[float, float] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    bgr: bool,
) -> InputFormat | ChannelOrder:
    """Return what the input options say together.

    Raises:
        OptionError: They contradict each other, or one of a pair is missing.
    """
    ends = None if input_range is None else ((input_range[0],), (input_range[1],))
    return asked_format(ends, mean, std, bgr=bgr, spelled=_option)


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"
