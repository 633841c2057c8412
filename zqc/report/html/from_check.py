"""The page of a check."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zqc.pictures.images import PicturePlacement
from zqc.report.html import images
from zqc.report.html.from_compile import part_row, verdict_of
from zqc.report.html.page import (
    ClassRow,
    Interval,
    Matches,
    Page,
    PartRow,
    Picture,
    Pictures,
    Shape,
    State,
    Tile,
)
from zqc.report.html.shapes import found_shapes, label_shapes
from zqc.report.html.tiles import agreement_tile, boxes_tile, size_tile
from zqc.runtime import session
from zqc.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zqc.commands.check_result import CheckResult, Shown
    from zqc.detection.average_precision import Accuracy, ClassAccuracy
    from zqc.detection.detections import Detections
    from zqc.detection.labels.labels import Truth
    from zqc.detection.pairing import Pairing

SHOWN_PICTURES = 12
_POINTS = 2000
"""Points of the chart of scores, at most."""


def checked_page(result: CheckResult) -> Page:
    """Return what is to be said of a check.

    Args:
        result: What it ended with, with what is shown.
    """
    return Page(
        model=Path(result.quantized).name or "model in memory",
        kind="Check",
        version=__version__,
        precision=result.precision,
        target=result.target,
        verdict=verdict_of(result.verdict),
        warnings=tuple(f"{note[:1].upper()}{note[1:]}." for note in result.notes),
        tiles=tuple(_tiles(result)),
        pictures=_pictures(result),
        matches=_matches(result),
        classes=_classes(result),
        parts=(
            *(part_row(part) for part in result.parts),
            *(PartRow(name, note=f"not compared: {why}") for name, why in result.not_compared),
        ),
        recipe=result.recipe.strip(),
        command=_command(result),
        facts=_facts(result),
    )


def _tiles(result: CheckResult) -> Iterator[Tile]:
    before, after = result.accuracy_float, result.accuracy_quantized
    if before is not None and after is not None:
        spread = result.difference
        interval = None
        if spread is not None:
            low, high = 100 * spread.low, 100 * spread.high
            interval = Interval(100 * spread.difference, low, high, "points")
        texts = f"{100 * after.ap:.1f}", f"{100 * before.ap:.1f}"
        yield Tile("mAP", *texts, "against the labels", interval=interval)
    if result.agreement is not None:
        yield agreement_tile(result.agreement.ap)
    if result.pairing is not None and result.pairing.counts.float_boxes:
        yield boxes_tile(result.pairing.counts)
    yield size_tile(result.bytes_quantized, result.bytes_float)


def _pictures(result: CheckResult) -> Pictures | None:
    """The pictures in which the models differ most, as far as they can be drawn."""
    shown, pairing = result.shown, result.pairing
    if shown is None or pairing is None:
        return None
    indices = [index for index, _ in pairing.pictures[:SHOWN_PICTURES]]
    drawn = [_picture(shown, index, result.classes, pairing.score_threshold) for index in indices]
    known = tuple(picture for picture in drawn if picture is not None)
    if not known:
        return None
    note = f"boxes with a score above {pairing.score_threshold:.2g}, worst pictures first"
    return Pictures(known, result.images, note)


def _picture(shown: Shown, index: int, names: Sequence[str], threshold: float) -> Picture | None:
    """One picture with all that is found in it; None where its channels are no colours."""
    (tensor,), (placement,) = shown.pictures.read(index, index + 1)
    if tensor.shape[0] not in (1, 3):
        return None
    pixels = shown.input_format.to_pixels(tensor[np.newaxis])[0]
    height = round(placement.height * placement.scale_y)
    width = round(placement.width * placement.scale_x)
    pixels = pixels[placement.top :, placement.left :][:height, :width]
    smaller = PicturePlacement(
        1 / placement.scale_x, 1 / placement.scale_y, 0, 0, pixels.shape[1], pixels.shape[0]
    )
    found = shown.comparison.paired(index, threshold)
    first = {i: iou for i, _, iou in found.pairs}
    second = {j: iou for _, j, iou in found.pairs}
    truth = None if shown.truth is None else shown.truth.truth[index]
    return Picture(
        name=shown.pictures.names[index],
        image=images.picture_uri(pixels),
        width=pixels.shape[1],
        height=pixels.shape[0],
        float_shapes=_shapes(found.reference.in_picture(smaller), names, first, "lost"),
        quantized_shapes=_shapes(found.quantized.in_picture(smaller), names, second, "new"),
        label_shapes=() if truth is None else label_shapes(_scaled(truth, placement), names),
    )


def _shapes(
    found: Detections, names: Sequence[str], kept: Mapping[int, float], otherwise: State
) -> tuple[Shape, ...]:
    states: list[State] = ["kept" if i in kept else otherwise for i in range(len(found))]
    return found_shapes(found, names, states, [kept.get(i, math.nan) for i in range(len(found))])


def _scaled(truth: Truth, placement: PicturePlacement) -> Truth:
    scale = np.array([placement.scale_x, placement.scale_y])
    corners = None if truth.corners is None else truth.corners * scale
    return replace(truth, boxes=truth.boxes * np.tile(scale, 2), corners=corners)


def _matches(result: CheckResult) -> Matches | None:
    pairing = result.pairing
    if pairing is None or not pairing.counts.float_boxes:
        return None
    counts = pairing.counts
    return Matches(
        counts.kept,
        counts.lost,
        counts.new,
        counts.iou,
        counts.shift_mean,
        pairing.score_threshold,
        pairing.threshold,
        _scores(result.shown, pairing),
        "pairs overlap by at least half and are of one class",
    )


def _scores(shown: Shown | None, pairing: Pairing) -> tuple[tuple[float, float], ...]:
    """Scores of the same box in both models, of boxes that are lost or new with one of them."""
    if shown is None:
        return ()
    points: list[tuple[float, float]] = []
    for index in range(len(shown.comparison.reference)):
        found = shown.comparison.paired(index, pairing.score_threshold)
        one, other = found.reference.scores.tolist(), found.quantized.scores.tolist()
        kept, kept_too = {i for i, _, _ in found.pairs}, {j for _, j, _ in found.pairs}
        points += [(one[i], other[j]) for i, j, _ in found.pairs]
        points += [(score, math.nan) for i, score in enumerate(one) if i not in kept]
        points += [(math.nan, score) for j, score in enumerate(other) if j not in kept_too]
    step = -(-len(points) // _POINTS) or 1
    return tuple(points[::step])


def _classes(result: CheckResult) -> tuple[ClassRow, ...]:
    """Class by class: AP against labels, or else agreement; and what became of the boxes."""
    first, second = result.accuracy_float, result.accuracy_quantized
    paired = {} if result.pairing is None else {c.label: c for c in result.pairing.classes}
    before = _by_label(first)
    after = _by_label(second or result.agreement)
    labels = sorted({*before, *after, *paired})
    rows = []
    for label in labels:
        counts = paired[label].counts if label in paired else None
        known = after.get(label) or before.get(label)
        rows.append(
            ClassRow(
                name=known.name if known else paired[label].name,
                labels=known.labels if known else math.nan,
                ap_float=before[label].ap if label in before else math.nan,
                ap_quantized=after[label].ap if label in after else math.nan,
                kept=counts.kept if counts else math.nan,
                lost=counts.lost if counts else math.nan,
                new=counts.new if counts else math.nan,
            )
        )
    return tuple(rows)


def _by_label(accuracy: Accuracy | None) -> dict[int, ClassAccuracy]:
    return {} if accuracy is None else {one.label: one for one in accuracy.classes}


def _command(result: CheckResult) -> str:
    if not result.float_model or not result.quantized:
        return ""
    return shlex.join(["zqc", "check", result.float_model, result.quantized])


def _facts(result: CheckResult) -> tuple[tuple[str, str], ...]:
    facts: Sequence[tuple[str, str]] = (
        ("zqc", __version__),
        ("ONNX Runtime", session.version()),
        ("Float model", result.float_model),
        ("Quantized model", result.quantized),
        ("Pictures", result.pictures),
        ("Input", result.input_choice.name),
        ("Other sizes", result.fit),
        ("Detector", result.detector),
        *(
            (limit.option, f"{limit.limit:g}: {'holds' if limit.met else 'does not hold'}")
            for limit in result.limits
        ),
    )
    return tuple((label, text) for label, text in facts if text)
