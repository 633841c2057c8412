"""The command line: parse, call the library, print."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zqc.cli import check_options, options, recipe_options, screen
from zqc.cli.options import PATH
from zqc.cli.recipe_options import recipe_of
from zqc.cli.sections import WIDTH, SectionedCommand, SectionedGroup
from zqc.errors import RuntimeFailure, ZqcError
from zqc.recipe.toml import to_table, to_toml
from zqc.report.json_text import json_text, result_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.text import Text

    from zqc.pictures.input_format import Fit
    from zqc.progress import Progress

# ONNX Runtime and everything that needs it are imported inside the commands, so that --help and a
# mistyped option answer at once, and after a command has said what it is about.

_EXIT_ERROR = 1
_EXIT_LIMIT = 3
_EXIT_UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h
_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


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
        "zqc compile model.onnx --bits 4 --dry-run > recipe.toml",
    ),
)
@click.argument("model", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="The file to write.  [default: MODEL.int8.onnx, …]",
)
@recipe_options.recipe_option
@recipe_options.precision_options
@options.images_option
@options.statistics_options
@recipe_options.synthesis_options
@options.input_options
@options.fit_option
@recipe_options.quantization_options
@recipe_options.target_option
@recipe_options.runtime_options
@click.option("--dry-run", is_flag=True, help="Print the recipe as TOML and write nothing.")
@options.threads_option
@options.report_option
@options.output_options
def compile_command(
    model: Path,
    output: Path | None,
    images: Path | None,
    statistics: Path | None,
    no_statistics: bool,
    dry_run: bool,
    threads: int | None,
    report: Path | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> None:
    """Quantize MODEL, a float32 detector in ONNX."""
    screen.log(verbose)
    recipe = recipe_of(**choices)
    with _working("Reading" if dry_run else "Compiling", model) as progress:
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
                progress=progress,
                threads=threads,
                report=report,
            )
    if dry_run:
        click.echo(json_text(to_table(recipe)) if as_json else to_toml(recipe).rstrip())
    else:
        _print(result, text.compiled, as_json=as_json)


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
@options.statistics_options
@recipe_options.synthesis_options
@options.input_options
@options.threads_option
@options.output_options
def synthesize(
    model: Path,
    directory: Path,
    resume: bool,
    statistics: Path | None,
    no_statistics: bool,
    threads: int | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> int:
    """Make calibration pictures from the BatchNorm statistics in MODEL."""
    screen.log(verbose)
    recipe = recipe_of(**choices)
    with _working("Synthesising pictures for", model) as progress:
        from zqc.commands.synthesize import synthesize_to
        from zqc.report import text

        result = synthesize_to(
            model,
            directory,
            recipe=recipe,
            statistics=statistics,
            no_statistics=no_statistics,
            resume=resume,
            progress=progress,
            threads=threads,
        )
    if result.stopped is None:
        _print(result, text.synthesized, as_json=as_json)
        return 0
    interrupted = result.checkpoint is not None
    error = KeyboardInterrupt() if interrupted else RuntimeFailure()
    code = _EXIT_INTERRUPTED if interrupted else _EXIT_ERROR
    return _fail(error, text.stopped(result), code, as_json=as_json, result=result)


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
@options.threads_option
@options.output_options
def stats(
    model: Path,
    images: Path,
    output: Path,
    allow_few: bool,
    input_shape: tuple[int, int] | None,
    inputs: dict[str, tuple[float, ...]],
    threads: int | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> None:
    """Write a card of what pictures are like inside MODEL, for --statistics elsewhere."""
    screen.log(verbose)
    with _working("Measuring", model) as progress:
        from zqc.commands import stats
        from zqc.report import text

        result = stats.stats(
            model,
            output,
            images=images,
            input_format=options.input_format(**choices),
            input_shape=input_shape,
            inputs=inputs,
            allow_few=allow_few,
            progress=progress,
            threads=threads,
        )
    _print(result, text.card_written, as_json=as_json)


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
    with _working("Inspecting", model):
        from zqc.commands import inspect
        from zqc.report import text

        result = inspect.inspect(model, input_shape=input_shape, inputs=inputs)
    _print(result, text.inspected, as_json=as_json)


@cli.command("targets", cls=SectionedCommand)
@options.output_options
def targets_command(as_json: bool, verbose: int) -> None:
    """List what --target can be, and what holds of the files that are written for it."""
    screen.log(verbose)
    from zqc.commands.list_targets import list_targets
    from zqc.report import text

    _print(list_targets(), text.targets_listed, as_json=as_json)


@cli.command(
    cls=SectionedCommand,
    examples=(
        "zqc check model.onnx model.int8.onnx --images photos/",
        "zqc check model.onnx model.int8.onnx --labels coco8.yaml --max-drop 2",
        "zqc check model.onnx model.int8.onnx          on synthesised pictures",
    ),
)
@click.argument("float_model", metavar="FLOAT", type=PATH)
@click.argument("quantized", type=PATH)
@check_options.pictures_options
@check_options.detector_options
@check_options.limit_options
@check_options.report_options
@options.input_options
@options.fit_option
@options.threads_option
@options.output_options
def check(
    float_model: Path,
    quantized: Path,
    images: Path | None,
    labels: Path | None,
    limit: int | None,
    names: str | None,
    anchors: Path | None,
    decoder: str | None,
    min_agreement: float | None,
    max_drop: float | None,
    junit: Path | None,
    markdown: Path | None,
    fit: Fit,
    input_shape: tuple[int, int] | None,
    inputs: dict[str, tuple[float, ...]],
    threads: int | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> int:
    """Judge QUANTIZED by FLOAT: on your pictures, with labels or without, or on synthesised ones.

    Exits with 3 where a limit is not met.
    """
    screen.log(verbose)
    with _working("Checking", quantized) as progress:
        from zqc.commands import check
        from zqc.commands.arguments import check_outputs
        from zqc.files import write_text
        from zqc.report import check_text
        from zqc.report import junit as junit_xml

        check_outputs((junit, markdown), float_model, quantized, images, labels)
        result = check.check(
            float_model,
            quantized,
            images=images,
            labels=labels,
            names=names,
            anchors=anchors,
            decoder=decoder,
            fit=fit,
            input_format=options.input_format(**choices),
            input_shape=input_shape,
            inputs=inputs,
            min_agreement=min_agreement,
            max_drop=max_drop,
            limit=limit,
            threads=threads,
            progress=progress,
        )
        if junit is not None:
            write_text(junit, junit_xml.junit(result, title=quantized.name))
        if markdown is not None:
            write_text(markdown, check_text.markdown(result, title=quantized.name))
    _print(result, check_text.checked, as_json=as_json)
    return 0 if result.passed else _EXIT_LIMIT


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
    with _working("Measuring", quantized) as progress:
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
    _print(result, partial(benched, top=named), as_json=as_json)


def main() -> None:
    """Run the command line and leave with its exit code."""
    screen.use_utf8()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    0: done. 1: an error with a message. 2: the command line is wrong. 3: a limit that was demanded
    does not hold. 70: an unexpected error. 130: interrupted.
    """
    as_json = "--json" in arguments
    try:
        return int(cli.main(list(arguments), prog_name="zqc", standalone_mode=False) or 0)
    except click.ClickException as error:
        if not as_json:
            screen.complain(error)
            return error.exit_code
        return _fail(error, error.format_message(), error.exit_code, as_json=True)
    except (click.Abort, KeyboardInterrupt) as error:
        return _fail(error, "interrupted, nothing was written", _EXIT_INTERRUPTED, as_json=as_json)
    except ZqcError as error:
        return _fail(error, str(error), _EXIT_ERROR, as_json=as_json)
    except BrokenPipeError:
        # The reader left, as in `zqc inspect model.onnx | head -1`; Python would complain again
        # when it flushes the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_ERROR
    except Exception as error:  # the last resort: a defect of zqc or of a library
        message = f"unexpected {type(error).__name__}: {error}"
        return _fail(error, message, _EXIT_UNEXPECTED, as_json=as_json)


@contextmanager
def _working(on: str, model: Path) -> Iterator[Progress]:
    """Say at once what a command does to which model, and now and then that it still does."""
    progress = screen.progress()
    with progress.stage(f"{on} {model.name}"):
        yield progress


def _print(result: Any, render: Callable[[Any], Text], *, as_json: bool) -> None:
    if as_json:
        click.echo(result_text(result))
        return
    screen.show(render(result))


def _fail(
    error: BaseException, message: str, code: int, *, as_json: bool, result: Any = None
) -> int:
    """Say what went wrong and return the exit code; a result goes with the error as JSON."""
    message = " ".join(message.split())
    log = logging.getLogger("zqc")
    if code == _EXIT_UNEXPECTED and not log.isEnabledFor(logging.INFO):
        message += "; --verbose shows where, please report it"
    if as_json:
        said = {"type": type(error).__name__, "message": message}
        click.echo(result_text(result, error=said))
    else:
        screen.complain(message)
    if log.isEnabledFor(logging.DEBUG) or (
        code == _EXIT_UNEXPECTED and log.isEnabledFor(logging.INFO)
    ):
        traceback.print_exception(error, file=sys.stderr)
    return code
