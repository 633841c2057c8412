"""What the YOLOs of Ultralytics have in common: one row for each value, one column for each cell.

Their main output is N × R × A. A is the number of cells of all grids. Of the R rows the first four
are centre x, centre y, width and height in input pixels, then come the scores of C classes, behind
the sigmoid, and then what the task needs besides: 32 mask coefficients, three values for each
keypoint, an angle.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.grids import strides_of_cells
from zqc.detection.conventions.tracing import is_picked, scores_along


def rows_of(facts: Facts, outputs: Mapping[str, tuple[int, ...]]) -> tuple[str, int] | None:
    """The one output N × R × A and its R, or None.

    A file whose detections are selected, by what it says itself or the graph shows, has none.
    """
    if facts.selected:
        return None
    found = [
        (name, shape[1])
        for name, shape in outputs.items()
        if len(shape) == 3 and strides_of_cells(facts.size, shape[2]) and not is_picked(facts, name)
    ]
    return found[0] if len(found) == 1 else None


def is_layout(
    facts: Facts,
    family: str,
    task: Task,
    output: str,
    layout: NDArray[np.bool_],
    *,
    certain: bool = False,
) -> bool:
    """Whether it is certain that the rows of an output are laid out so for a task.

    1. Nothing may contradict it: the task and the names of the classes that the file has, and which
       rows the graph shows to be scores.
    2. Something must say so: the task or the names in the file, the scores in the graph, or the
       user. A shape alone does not: the rows of 17 keypoints could be 51 classes more.

    Args:
        facts: What is known of the detector.
        family: Name of the family that asks.
        task: Its task.
        output: Name of the output.
        layout: Which rows would be values behind a sigmoid, shape (R,).
        certain: Whether the shapes say it already.
    """
    classes = first_scores(layout)
    if classes < 1 or not facts.may_be(task, classes):
        return False
    seen = scores_along(facts, output, 1)
    if seen is None:
        told = facts.task == task or (task == "detect" and len(facts.names) == classes)
        return certain or told or facts.family == family
    return bool((seen == layout).all())


def layout(classes: int, *, behind: int = 0, period: int = 0) -> NDArray[np.bool_]:
    """Which rows are behind a sigmoid: the classes, and of ``behind`` more the last per period."""
    more = np.arange(1, behind + 1) % period == 0 if period else np.zeros(behind, bool)
    return np.concatenate([np.zeros(4, bool), np.ones(max(classes, 0), bool), more])


def first_scores(rows: NDArray[np.bool_]) -> int:
    """How many rows behind the box are scores without a gap."""
    return int(np.argmin(np.append(rows[4:], False)))


def columns(outputs: Outputs, name: str) -> NDArray[np.float32]:
    """The values of an output N × R × A with one candidate in a row, N × A × R."""
    return np.asarray(outputs[name], np.float32).transpose(0, 2, 1)
