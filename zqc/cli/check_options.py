"""Options of ``zqc check``."""

from __future__ import annotations

import click

from zqc.cli.options import PATH, group
from zqc.cli.sections import option_of

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
    _detector(
        "--anchors",
        type=PATH,
        metavar="NPY",
        help="Anchors of an SSD: cy, cx, h, w in every row.",
    ),
    _detector(
        "--decoder",
        metavar="MODULE:FUNCTION",
        help="What reads outputs of no known convention: a Python function, or a .toml that"
        " describes them.",
    ),
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
