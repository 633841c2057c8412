"""The command line: parse, call the library, print."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zqc.cli import options, recipe_options, screen, signals, streams
from zqc.cli.check import check_command
from zqc.cli.diagnose import debug_command, sensitivity_command
from zqc.cli.options import PATH
from zqc.cli.outcome import (
    EXIT_ERROR,
    EXIT_UNEXPECTED,
    check_printed,
    fail,
    interrupted,
    print_result,
    working,
)
from zqc.cli.recipe_options import recipe_of
from zqc.cli.sections import WIDTH, SectionedCommand, SectionedGroup
from zqc.cli.sweep import sweep_command
from zqc.cli.tune import tune_command
from zqc.errors import RuntimeFailure, ZqcError
from zqc.files.outputs import noting_outputs
from zqc.recipe.toml import to_table, to_toml
from zqc.report.json_text import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.pictures.input_format import Fit

# ONNX Runtime and everything that needs it are imported inside the commands, so that --help and a
# mistyped option answer at once, and after a command has said what it is about.


@click.group(
    cls=SectionedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
)
@click.version_option(package_name="zqc", message="%(prog)s %(version)s")
def cli() -> None:
    """Quantize object detectors in ONNX, without data."""


@cli.command(
    "compile",
    cls=SectionedCommand,
    tables=recipe_options.PRESET_TABLE | recipe_options.EFFORT_TABLE,
    examples=(
        "zqc compile model.onnx                    8 bits, no pictures needed",
        "zqc compile model.onnx --bits 4           weights of 4 bits",
        "zqc compile model.onnx --images photos/   calibrated with your pictures",
        "zqc compile model.onnx --target openvino --input-shape 640x640",
    ),
)
@click.argument("model", type=PATH)
@options.quantized_option
@recipe_options.recipe_option
@recipe_options.precision_options
@options.images_option
@options.statistics_options
@options.require_statistics_option
@options.anchors_option
@options.decoder_option
@recipe_options.synthesis_options
@options.input_options
@options.fit_option
@recipe_options.quantization_options
@recipe_options.target_option
@recipe_options.runtime_options
@options.cache_option
@click.option("--dry-run", is_flag=True, help="Print the recipe as TOML and write nothing.")
@options.threads_option
@options.memory_option
@options.report_option
@options.output_options
def compile_command(
    model: Path,
    output: Path | None,
    images: Path | None,
    statistics: Path | None,
    no_statistics: bool,
    require_statistics: bool,
    anchors: Path | None,
    decoder: str | None,
    cache: bool,
    dry_run: bool,
    threads: int | None,
    memory: int | None,
    report: Path | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> None:
    """Quantize MODEL, a float32 detector in ONNX."""
    screen.log(verbose)
    recipe = recipe_of(**choices)
    with working("Reading" if dry_run else "Compiling", model) as progress:
        from zqc.commands.compile import compile_model, effective_recipe
        from zqc.report import text

        if dry_run:
            recipe = effective_recipe(
                model,
                output,
                recipe=recipe,
                images=images,
                statistics=statistics,
                no_statistics=no_statistics,
                require_statistics=require_statistics,
                progress=progress,
                threads=threads,
            )
        else:
            result = compile_model(
                model,
                output,
                recipe=recipe,
                images=images,
                statistics=statistics,
                no_statistics=no_statistics,
                require_statistics=require_statistics,
                anchors=anchors,
                decoder=decoder,
                progress=progress,
                threads=threads,
                memory=memory,
                report=report,
                cache=cache,
            )
    if dry_run:
        click.echo(json_text(to_table(recipe)) if as_json else to_toml(recipe).rstrip())
    else:
        print_result(result, text.compiled, as_json=as_json)


@cli.command(cls=SectionedCommand, tables=recipe_options.EFFORT_TABLE)
@click.argument("model", type=PATH)
@click.option(
    "-o",
    "--output",
    "directory",
    type=PATH,
    metavar="DIR",
    required=True,
    help="Folder for the pictures as PNG, the exact tensors as .npz, and a report to look at.",
)
@click.option("--resume", is_flag=True, help="Go on where Ctrl-C ended the same command.")
@recipe_options.recipe_option
@options.anchors_option
@options.statistics_options
@recipe_options.synthesis_options
@options.input_options
@options.cache_option
@options.threads_option
@options.memory_option
@options.output_options
def synthesize(
    model: Path,
    directory: Path,
    resume: bool,
    anchors: Path | None,
    statistics: Path | None,
    no_statistics: bool,
    cache: bool,
    threads: int | None,
    memory: int | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> int:
    """Make calibration pictures from the BatchNorm statistics in MODEL."""
    screen.log(verbose)
    recipe = recipe_of(**choices)
    with working("Synthesising pictures for", model) as progress:
        from zqc.commands.synthesize import synthesize_to
        from zqc.report import text

        result = synthesize_to(
            model,
            directory,
            recipe=recipe,
            statistics=statistics,
            no_statistics=no_statistics,
            resume=resume,
            anchors=anchors,
            progress=progress,
            threads=threads,
            memory=memory,
            cache=cache,
        )
    if result.stopped is None:
        print_result(result, text.synthesized, as_json=as_json)
        return 0
    error = RuntimeFailure() if result.checkpoint is None else KeyboardInterrupt()
    code = EXIT_ERROR if result.checkpoint is None else signals.exit_code()
    return fail(error, text.stopped(result), code, as_json=as_json, result=result)


@cli.command(cls=SectionedCommand)
@click.argument("model", type=PATH)
@click.option(
    "--images",
    type=PATH,
    metavar="DIR_OR_NPZ",
    required=True,
    help="The pictures, which stay where they are.",
)
@click.option(
    "-o", "--output", type=PATH, metavar="FILE", required=True, help="Where the card goes, a .json."
)
@click.option(
    "--allow-few",
    is_flag=True,
    help="Take fewer than 16 pictures, too: the card may then show what they looked like.",
)
@options.input_options
@options.fit_option
@options.threads_option
@options.output_options
def stats(
    model: Path,
    images: Path,
    output: Path,
    allow_few: bool,
    fit: Fit,
    input_shape: tuple[int, int] | None,
    inputs: dict[str, tuple[float, ...]],
    threads: int | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> None:
    """Write a card of what pictures are like inside MODEL, for --statistics elsewhere."""
    screen.log(verbose)
    with working("Measuring", model) as progress:
        from zqc.commands import stats
        from zqc.report import text

        result = stats.stats(
            model,
            output,
            images=images,
            input_format=options.input_format(**choices),
            fit=fit,
            input_shape=input_shape,
            inputs=inputs,
            allow_few=allow_few,
            progress=progress,
            threads=threads,
        )
    print_result(result, text.card_written, as_json=as_json)


@cli.command(cls=SectionedCommand)
@click.argument("model", type=PATH)
@click.option(
    "--input-shape",
    type=options.size,
    metavar="HxW",
    help="Height and width, for a model that leaves them open.",
)
@options.inputs_option
@options.output_options
def inspect(
    model: Path,
    input_shape: tuple[int, int] | None,
    inputs: dict[str, tuple[float, ...]],
    as_json: bool,
    verbose: int,
) -> None:
    """Print what MODEL is made of and where its post-processing begins."""
    screen.log(verbose)
    with working("Inspecting", model):
        from zqc.commands import inspect
        from zqc.report import text

        result = inspect.inspect(model, input_shape=input_shape, inputs=inputs)
    print_result(result, text.inspected, as_json=as_json)


@cli.command("targets", cls=SectionedCommand)
@options.output_options
def targets_command(as_json: bool, verbose: int) -> None:
    """List what --target can be, and what holds of the files that are written for it."""
    screen.log(verbose)
    from zqc.commands.list_targets import list_targets
    from zqc.report import text

    print_result(list_targets(), text.targets_listed, as_json=as_json)


@cli.command(cls=SectionedCommand)
@click.argument("float_model", metavar="FLOAT", type=PATH)
@click.argument("quantized", type=PATH)
@options.bench_options
@options.input_options
@options.output_options
def bench(
    float_model: Path,
    quantized: Path,
    runs: int,
    provider: str,
    threads: int,
    top: int | None,
    images: Path | None,
    batch: int | None,
    input_shape: tuple[int, int] | None,
    inputs: dict[str, tuple[float, ...]],
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> None:
    """Measure FLOAT and QUANTIZED: latency, kernels, memory, size.

    Any two models with the same inputs will do, whoever wrote them. Without an input range, that of
    the recipe in a compiled model counts, or else 0:1.
    """
    screen.log(verbose)
    with working("Measuring", quantized) as progress:
        from zqc.commands import bench
        from zqc.report.bench_text import benched

        result = bench.bench(
            float_model,
            quantized,
            images=images,
            input_format=options.input_format(**choices),
            input_shape=input_shape,
            inputs=inputs,
            batch=batch,
            threads=threads,
            provider=provider,
            runs=runs,
            progress=progress,
        )
    named = (10 if verbose else 0) if top is None else top
    print_result(result, partial(benched, top=named), as_json=as_json)


cli.add_command(tune_command)
cli.add_command(sweep_command)
cli.add_command(check_command)
cli.add_command(sensitivity_command)
cli.add_command(debug_command)


def main() -> None:
    """Run the command line and leave with its exit code."""
    streams.set_up()
    try:
        signals.interrupt()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # once more, while it was told about the first
        code = signals.exit_code()
    signals.leave(code)


_LESS = "take fewer pictures or a smaller input, or another machine"
"""What helps where the memory is too small."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    0: done. 1: an error with a message. 2: the command line is wrong. 3: a limit that was demanded
    does not hold. 70: an unexpected error. 130: interrupted by Ctrl-C, 143: by SIGTERM.
    """
    as_json = "--json" in arguments
    with noting_outputs():
        try:
            code = int(cli.main(list(arguments), prog_name="zqc", standalone_mode=False) or 0)
            check_printed()
            return code
        except click.ClickException as error:
            if not as_json:
                screen.complain(error)
                return error.exit_code
            return fail(error, error.format_message(), error.exit_code, as_json=True)
        except (click.Abort, KeyboardInterrupt) as error:
            return interrupted(error, as_json=as_json)
        except ZqcError as error:
            return fail(error, str(error), EXIT_ERROR, as_json=as_json)
        except MemoryError as error:
            message = f"not enough memory: {str(error) or 'none is left'}; {_LESS}"
            return fail(error, message, EXIT_ERROR, as_json=as_json)
        except Exception as error:  # the last resort: a defect of zqc or of a library
            message = f"unexpected {type(error).__name__}: {error}"
            return fail(error, message, EXIT_UNEXPECTED, as_json=as_json)
