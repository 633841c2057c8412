"""The commands that say which layers harm a quantized detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zqc.cli import options, recipe_options, screen
from zqc.cli.options import PATH
from zqc.cli.outcome import interrupted, print_result, working
from zqc.cli.recipe_options import recipe_of
from zqc.cli.sections import SectionedCommand, option_of

_evaluation = option_of("Evaluation")


@click.command(
    "sensitivity",
    cls=SectionedCommand,
    examples=(
        "zqc sensitivity model.onnx --bits 4     which layers suffer, what to do",
        "zqc sensitivity model.onnx --images photos/ --jobs 8 --budget 0.02",
    ),
)
@click.argument("model", type=PATH)
@options.anchors_option
@_evaluation(
    "--budget",
    type=float,
    metavar="SHARE",
    default=0.05,
    show_default=True,
    help="By how much of its size the file may grow.",
)
@_evaluation(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Evaluations at once.  [default: number of cores]",
)
@_evaluation(
    "--dask",
    metavar="ADDRESS",
    help="Let the workers of this Dask scheduler evaluate.",
)
@_evaluation("--resume", is_flag=True, help="Go on where Ctrl-C ended the same command.")
@_evaluation(
    "--cache",
    type=PATH,
    metavar="FILE",
    help="Keep the evaluations in this file, for --resume.",
)
@options.report_option
@recipe_options.recipe_option
@recipe_options.precision_options
@options.images_option
@options.statistics_options
@options.require_statistics_option
@recipe_options.synthesis_options
@options.input_options
@recipe_options.quantization_options
@recipe_options.target_option
@recipe_options.runtime_options
@options.threads_option
@options.output_options
def sensitivity_command(
    model: Path,
    images: Path | None,
    statistics: Path | None,
    no_statistics: bool,
    require_statistics: bool,
    anchors: Path | None,
    budget: float,
    jobs: int | None,
    dask: str | None,
    resume: bool,
    cache: Path | None,
    report: Path | None,
    threads: int | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> int:
    """Say which layers of MODEL quantization harms, and what to do.

    Each layer is quantized alone, and spared alone, to see what becomes of boxes, scores and
    detections. What is suggested is tried.
    """
    screen.log(verbose)
    recipe = recipe_of(**choices)
    with working("Taking apart", model) as progress:
        from zqc.commands.sensitivity import cache_path, sensitivity
        from zqc.report import diagnosis_text

        kept = cache_path(model, cache)
        try:
            result = sensitivity(
                model,
                recipe=recipe,
                images=images,
                statistics=statistics,
                no_statistics=no_statistics,
                require_statistics=require_statistics,
                anchors=anchors,
                budget=budget,
                jobs=jobs,
                dask=dask,
                resume=resume,
                cache=cache,
                progress=progress,
                threads=threads,
                report=report,
            )
        except KeyboardInterrupt:
            if kept is None or not kept.is_file():
                raise
            message = (
                f"interrupted; {kept} holds what was evaluated so far, and the same command "
                "with --resume goes on from there"
            )
            return interrupted(KeyboardInterrupt(message), as_json=as_json)
    print_result(result, diagnosis_text.sensitivities, as_json=as_json)
    return 0


@click.command(
    "debug",
    cls=SectionedCommand,
    examples=("zqc debug model.onnx model.int8.onnx --images photos/",),
)
@click.argument("float_model", metavar="FLOAT", type=PATH)
@click.argument("quantized", type=PATH)
@click.option(
    "--images",
    type=PATH,
    metavar="DIR_OR_NPZ",
    help="Pictures to compare on.  [default: synthesised, or structured noise]",
)
@click.option(
    "--anchors",
    type=PATH,
    metavar="NPY",
    help="Anchors of an SSD, to compare detections: cy, cx, h, w in every row.",
)
@options.report_option
@options.input_options
@options.threads_option
@options.output_options
def debug_command(
    float_model: Path,
    quantized: Path,
    images: Path | None,
    anchors: Path | None,
    report: Path | None,
    input_shape: tuple[int, int] | None,
    inputs: dict[str, tuple[float, ...]],
    threads: int | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> None:
    """Say in which layer QUANTIZED parts from FLOAT, and why.

    QUANTIZED may come from any tool that writes QuantizeLinear and DequantizeLinear, or QLinear
    operators.
    """
    screen.log(verbose)
    with working("Debugging", quantized) as progress:
        from zqc.commands.debug import debug
        from zqc.report import diagnosis_text

        result = debug(
            float_model,
            quantized,
            images=images,
            anchors=anchors,
            input_format=options.input_format(**choices),
            input_shape=input_shape,
            inputs=inputs,
            threads=threads,
            progress=progress,
            report=report,
        )
    print_result(result, diagnosis_text.debugged, as_json=as_json)
