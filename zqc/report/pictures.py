"""What ``zqc synthesize`` leaves in its folder: the pictures, and how they came about.

The pictures stand alone in the folder, so that it can be calibrated with as it is. All that is to
look at stands in a folder of its own below.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zqc.pictures.images import write_pngs, write_tensors
from zqc.report.contact_sheet import MOST, contact_sheet
from zqc.report.curves import draw_gaps, draw_losses
from zqc.report.json_text import json_text
from zqc.runtime import extras

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zqc.pictures.input_format import InputFormat
    from zqc.synthesis.generate import Synthesis

logger = logging.getLogger(__name__)

REPORT = "report"
"""The folder below the pictures."""

TENSORS = "pictures.npz"
_SHEET, _LOSS, _GAP, _NUMBERS = (
    f"{REPORT}/{name}"
    for name in ("contact_sheet.png", "loss.png", "statistics_gap.png", "statistics.json")
)
REPORT_FILES = (REPORT, _SHEET, _LOSS, _GAP, _NUMBERS)
"""All that may be there to look at, by its path in the folder of the pictures."""


def write_pictures(
    folder: Path,
    tensors: NDArray[np.float32],
    input_format: InputFormat,
    *,
    synthesised: bool,
) -> None:
    """Write ``000.png`` …, and the exact tensors as ``pictures.npz``.

    Args:
        folder: A folder.
        tensors: Input tensors, (N, C, H, W), C = 1 or 3.
        input_format: How pixels became their values.
        synthesised: Whether they are made from statistics, not of noise.

    Raises:
        ImageError: The tensors do not have 1 or 3 channels.
        OutputError: The folder cannot be written.
    """
    write_pngs(folder, tensors, input_format)
    write_tensors(folder / TENSORS, tensors, synthesised=synthesised)


def write_sheet(
    folder: Path,
    tensors: NDArray[np.float32],
    input_format: InputFormat,
    *,
    synthesised: bool,
    model: str = "",
) -> None:
    """Draw a contact sheet.

    Args:
        folder: The folder of the pictures.
        tensors: Likewise as for ``write_pictures``.
        input_format: Likewise.
        synthesised: Likewise.
        model: Name of the model, for the title.
    """
    (folder / REPORT).mkdir(exist_ok=True)
    kind = "synthesised" if synthesised else "structured noise"
    title = f"{len(tensors)} pictures ({kind}) for {model}" if model else ""
    sheet = contact_sheet(input_format.to_pixels(tensors[:MOST]), title)
    sheet.save(folder / _SHEET)


def write_course(
    folder: Path, made: Synthesis, options: dict[str, Any], *, model: str = ""
) -> None:
    """Write how the loss fell and what is left of the gaps, as numbers and as plots.

    Without matplotlib there are no plots, and the log says so.

    Args:
        folder: The folder of the pictures.
        made: The synthesis.
        options: What it was made with, by name.
        model: Name of the model, for the titles.
    """
    (folder / REPORT).mkdir(exist_ok=True)
    if extras.installed(extras.PLOTS):
        draw_losses(folder / _LOSS, made.losses, model)
        draw_gaps(folder / _GAP, made.gaps, model)
    else:
        logger.warning("%s", extras.missing(extras.PLOTS, "drawing the plots of the report"))
    layers = [
        {"name": gap.layer, "mean": gap.mean, "deviation": gap.deviation} for gap in made.gaps
    ]
    content = {
        "options": options,
        "stopped": made.stopped,
        "losses": made.losses,
        "layers": layers,
    }
    (folder / _NUMBERS).write_text(json_text(content) + "\n", encoding="utf-8")
