"""The command ``zqc tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zqc.cli import options, recipe_options, screen
from zqc.cli.options import PATH
from zqc.cli.outcome import print_result, working
from zqc.cli.recipe_options import recipe_of
from zqc.cli.sections import SectionedCommand


@click.command(
    "tune",
    cls=SectionedCommand,
    examples=(
        "zqc tune model.onnx --bits 4 --act-bits 4 --task-specific",
        "zqc tune model.onnx --bits 3 --images photos/ --labels photos.json",
        "zqc tune model.onnx --bits 4 --act-bits 4 --loss-weights heads=0.3 --ema",
    ),
)
@click.argument("model", type=PATH)
@options.quantized_option
@recipe_options.recipe_option
@recipe_options.precision_options
@recipe_options.learning_options
@options.images_option
@options.labels_option
@options.statistics_options
@options.require_statistics_option
@options.anchors_option
@options.decoder_option
@recipe_options.tuning_options
@options.input_options
@options.fit_option
@recipe_options.threshold_options
@recipe_options.correction_options
@recipe_options.target_option
@recipe_options.runtime_options
@options.cache_option
@options.threads_option
@options.memory_option
@options.report_option
@options.output_options
def tune_command(
    model: Path,
    output: Path | None,
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
    report: Path | None,
    as_json: bool,
    verbose: int,
    **choices: Any,
) -> None:
    """Quantize MODEL and train its weights: zqc compile --effort thorough.

    Ctrl-C keeps the best so far, and the same command goes on from there.
    """
    screen.log(verbose)
    recipe = recipe_of(**choices)
    with working("Tuning", model) as progress:
        from zqc.commands.tune import tune_model
        from zqc.report import text

        result = tune_model(
            model,
            output,
            recipe=recipe,
            images=images,
            labels=labels,
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
    print_result(result, text.compiled, as_json=as_json)
