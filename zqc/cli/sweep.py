"""The command ``zqc sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zqc.cli import options, recipe_options, screen
from zqc.cli.options import PATH
from zqc.cli.outcome import EXIT_ERROR, fail, print_result, working
from zqc.cli.recipe_options import recipe_of
from zqc.cli.sections import SectionedCommand, option_of
from zqc.errors import OptionError
from zqc.parsing.text import ParseError
from zqc.recipe.variations import varied

_sweep = option_of("Sweep")


def _choices(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, tuple[Any, ...]]:
    """The values to try by field, which may be given once each."""
    found: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        try:
            key, values = varied(text)
        except ParseError as error:
            raise click.BadParameter(str(error)) from error
        if key in found:
            raise click.BadParameter(f"{key} is varied twice; give all of its values at once")
        found[key] = values
    return found


@click.command(
    "sweep",
    cls=SectionedCommand,
    examples=(
        "zqc sweep model.onnx --vary bits=8,4,3",
        "zqc sweep model.onnx --bits 4 --vary act-bits=8,4 --vary extra-bits=0.03,0.1",
        "zqc sweep model.onnx --rounding learned --vary seed=0,1,2 --jobs 3",
    ),
)
@click.argument("model", type=PATH)
@_sweep(
    "--vary",
    multiple=True,
    required=True,
    metavar="FIELD=V,V,…",
    callback=_choices,
    help="Values to try of a field of recipes; may be repeated: each goes with each.",
)
@_sweep(
    "--check-images",
    type=PATH,
    metavar="DIR_OR_NPZ",
    help="Judge all files on these instead of made-up pictures.",
)
@_sweep(
    "--check-labels",
    type=PATH,
    metavar="FILE_OR_DIR",
    help="Labels of --check-images: then mAP decides.",
)
@_sweep(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Recipes at once, each in a process.",
)
@_sweep(
    "--dask",
    metavar="ADDRESS",
    help="Let the workers of this Dask scheduler compile.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="DIR",
    help="The folder for the files.  [default: MODEL.sweep]",
)
@recipe_options.recipe_option
@recipe_options.precision_options
@recipe_options.learning_options
@options.images_option
@options.labels_option
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
@options.threads_option
@options.memory_option
@options.output_options
def sweep_command(
    model: Path,
    output: Path | None,
    vary: dict[str, tuple[Any, ...]],
    check_images: Path | None,
    check_labels: Path | None,
    jobs: int,
    dask: str | None,
    images: Path | None,
    labels: Path | None,
    statistics: Path | None,
    no_statistics: bool,
    require_statistics: bool,
    anchors: Path | None,
    decoder: str | None,
    cache: bool,
    threads: int | None,
    memory: int | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> int:
    """Compile MODEL with many recipes, and judge all files on the same pictures.

    Ctrl-C keeps what is finished, and the same command goes on from there.
    """
    screen.log(verbose)
    recipe = recipe_of(**choices)
    with working("Sweeping", model) as progress:
        from zqc.commands.sweep import sweep
        from zqc.report import sweep_text

        result = sweep(
            model,
            output,
            vary=vary,
            recipe=recipe,
            images=images,
            labels=labels,
            statistics=statistics,
            no_statistics=no_statistics,
            require_statistics=require_statistics,
            anchors=anchors,
            decoder=decoder,
            check_images=check_images,
            check_labels=check_labels,
            jobs=jobs,
            dask=dask,
            progress=progress,
            threads=threads,
            memory=memory,
            cache=cache,
        )
    if not (result.failed and as_json):
        print_result(result, sweep_text.swept, as_json=as_json)
    if result.failed:
        count = len(result.runs)
        message = f"{result.failed} of {count} recipe{'s' * (count > 1)} cannot be compiled"
        return fail(OptionError(message), message, EXIT_ERROR, as_json=as_json, result=result)
    return 0
