"""Detections and labels as what is drawn into a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zqc.report.html.page import Shape, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.detection.detections import Detections
    from zqc.detection.labels.labels import Truth


def found_shapes(
    found: Detections,
    names: Sequence[str],
    states: Sequence[State] = (),
    overlaps: Sequence[float] = (),
) -> tuple[Shape, ...]:
    """Return the detections of a picture, best first.

    Args:
        found: What was found, in pixels of the picture.
        names: Names of the classes; a class without one is called by its number.
        states: What became of each, in the same order; nothing is said by default.
        overlaps: IoU of each with its partner in the other model; NaN without one.
    """
    shapes = []
    for index, (box, score, label) in enumerate(
        zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    ):
        overlap = overlaps[index] if overlaps else math.nan
        corners = () if found.corners is None else found.corners[index].tolist()
        joints = () if found.keypoints is None else found.keypoints[index].tolist()
        shapes.append(
            Shape(
                box=tuple(box),
                name=_name(label, names),
                score=score,
                state=states[index] if states else "",
                corners=tuple((x, y) for x, y in corners),
                keypoints=tuple((x, y) for x, y, visibility in joints if visibility > 0),
                note="" if math.isnan(overlap) else f"IoU {overlap:.2f}",
            )
        )
    return tuple(shapes)


def label_shapes(truth: Truth, names: Sequence[str]) -> tuple[Shape, ...]:
    """Return the labelled boxes of a picture; crowds are left out."""
    corners = [()] * len(truth) if truth.corners is None else truth.corners.tolist()
    return tuple(
        Shape(box=tuple(box), name=_name(label, names), corners=tuple((x, y) for x, y in around))
        for box, label, crowd, around in zip(
            truth.boxes.tolist(),
            truth.labels.tolist(),
            truth.crowd.tolist(),
            corners,
            strict=True,
        )
        if not crowd
    )


def _name(label: int, names: Sequence[str]) -> str:
    return names[label] if 0 <= label < len(names) else f"class {label}"
