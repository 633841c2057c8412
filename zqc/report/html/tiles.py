"""Tiles that the pages of several commands have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zqc.report.html.formats import number, percent
from zqc.report.html.page import Tile
from zqc.report.text import bytes_text, percent_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zqc.detection.pairing import Counts
    from zqc.diagnosis.effects import Effect


def agreement_tile(ap: float, before: float = math.nan) -> Tile:
    """How well the detections agree with the float model's, 0…1."""
    return Tile(
        "Agreement",
        percent_text(ap),
        "" if math.isnan(before) else percent_text(before),
        "AP of the detections against the float model's",
        ap,
    )


def boxes_tile(counts: Counts) -> Tile:
    """How many boxes of the float model the quantized one has, too."""
    return Tile(
        "Boxes kept",
        f"{counts.kept}/{counts.float_boxes}",
        note=f"{counts.lost} lost, {counts.new} new",
        share=counts.recall,
    )


def size_tile(after: int, before: int) -> Tile:
    """The size of a file, smaller or larger than it was."""
    share = after / max(before, 1)
    if share <= 1:
        note = f"{1 / max(share, 1e-9):.1f} times smaller"
        return Tile("Size", bytes_text(after), bytes_text(before), note, share)
    return Tile("Size", bytes_text(after), bytes_text(before), f"{percent(share - 1)} larger")


def effect_tiles(effect: Effect, before: Effect | None = None) -> Iterator[Tile]:
    """Boxes, scores, the rest and detections, as far as they are known.

    Args:
        effect: How near the outputs come to those of the float model.
        before: How near they came before; None where nothing was changed.
    """
    for label, name in (("Boxes", "boxes_db"), ("Scores", "scores_db"), ("Outputs", "other_db")):
        value = getattr(effect, name)
        if not math.isnan(value):
            was = math.nan if before is None else getattr(before, name)
            text = "" if math.isnan(was) else f"{number(was, 1)} dB"
            note = "SQNR against the float model; 20 dB is a hundredth of the power"
            yield Tile(label, f"{number(value, 1)} dB", text, note)
    if not math.isnan(effect.agreement):
        yield agreement_tile(effect.agreement, math.nan if before is None else before.agreement)
