"""The command ``zqc check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zqc.cli import options, screen
from zqc.cli.options import PATH, group
from zqc.cli.outcome import EXIT_LIMIT, print_result, working
from zqc.cli.sections import SectionedCommand, option_of

if TYPE_CHECKING:
    from zqc.pictures.input_format import Fit

_pictures, _detector, _limits, _reports = map(
    option_of, ("Pictures and labels", "Detector", "Limits", "Reports")
)

pictures_options = group(
    _pictures(
        "--images",
        type=PATH,
        metavar="DIR_OR_NPZ",
        help="Pictures to compare on.  [default: synthesised ones, or those of --labels YAML]",
    ),
    _pictures(
        "--labels",
        type=PATH,
        metavar="FILE_OR_DIR",
        help="Labels, to measure mAP: COCO's .json, a dataset's .yaml, or a folder of YOLO's .txt"
        " or Pascal VOC's .xml.",
    ),
    _pictures(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="Take only the first N pictures.",
    ),
)

detector_options = group(
    _detector(
        "--names",
        metavar="NAMES",
        help="The model's classes in order, such as cat,dog, or a file with one in each line.",
    ),
    options.anchors_option,
    options.decoder_option,
)

limit_options = group(
    _limits(
        "--min-agreement",
        type=float,
        metavar="PERCENT",
        help="Exit with 3 where the detections agree less with the float model's (AP).",
    ),
    _limits(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="Exit with 3 where mAP drops by more, against --labels.",
    ),
)

report_options = group(
    _reports("--junit", type=PATH, metavar="XML", help="Write a JUnit file, for build servers."),
    _reports("--markdown", type=PATH, metavar="MD", help="Write a summary, for a pull request."),
)


@click.command(
    "check",
    cls=SectionedCommand,
    examples=(
        "zqc check model.onnx model.int8.onnx --images photos/",
        "zqc check model.onnx model.int8.onnx --labels coco8.yaml --max-drop 2",
        "zqc check model.onnx model.int8.onnx          on synthesised pictures",
    ),
)
@click.argument("float_model", metavar="FLOAT", type=PATH)
@click.argument("quantized", type=PATH)
@pictures_options
@detector_options
@limit_options
@report_options
@options.report_option
@options.input_options
@options.fit_option
@options.threads_option
@options.output_options
def check_command(
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
    report: Path | None,
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
    with working("Checking", quantized) as progress:
        from zqc.commands import check
        from zqc.commands.arguments import check_outputs
        from zqc.files.atomic import write_text
        from zqc.report import check_text
        from zqc.report import junit as junit_xml

        inputs_given = (float_model, quantized, images, labels, anchors)
        check_outputs((junit, markdown), *inputs_given, report=report)
        try:
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
                report=report,
            )
        except Exception as error:
            if junit is not None:
                write_text(junit, junit_xml.junit_of_error(error, title=quantized.name))
            raise
        if junit is not None:
            write_text(junit, junit_xml.junit(result, title=quantized.name))
        if markdown is not None:
            write_text(markdown, check_text.markdown(result, title=quantized.name))
    print_result(result, check_text.checked, as_json=as_json)
    return 0 if result.passed else EXIT_LIMIT
