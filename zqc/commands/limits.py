"""What ``zqc check`` can demand of a quantized model, so that a pipeline stops where it fails."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zqc.commands.detector import Detector
from zqc.detection.average_precision import Accuracy
from zqc.errors import OptionError

_ROUNDING = 1e-9
"""Points that a percentage, or a difference of two, may be off by."""


@dataclass(frozen=True)
class Limit:
    """Something that was demanded.

    Attributes:
        option: The option that demands it.
        limit: What was demanded, in percent or points.
        value: What was measured; NaN where nothing could be.
        met: Whether it holds.
    """

    option: str
    limit: float
    value: float
    met: bool


def check(min_agreement: float | None, max_drop: float | None, *, labelled: bool) -> None:
    """Refuse limits that cannot be meant or cannot be measured, before any work.

    Raises:
        OptionError: One is no percentage, or labels are missing.
    """
    for option, value in (("--min-agreement", min_agreement), ("--max-drop", max_drop)):
        if value is not None and not 0 <= value <= 100:
            raise OptionError(f"{option} is {value:g}, but must be between 0 and 100, in percent")
    if max_drop is not None and not labelled:
        raise OptionError("--max-drop is about mAP, which needs --labels; give both, or neither")


def check_convention(min_agreement: float | None, detector: Detector) -> None:
    """Refuse to demand agreement of detections that nobody can read.

    Raises:
        OptionError: The outputs follow no known convention.
    """
    if min_agreement is not None and detector.convention is None:
        raise OptionError(f"--min-agreement is about detections, but {detector.text}")


def measured(
    demanded: tuple[float | None, float | None],
    agreed: Accuracy | None,
    accuracy: tuple[Accuracy, Accuracy] | None,
) -> tuple[Limit, ...]:
    """Hold what was demanded against what was measured; what could not be measured is not met.

    Args:
        demanded: The least agreement in percent, the greatest drop in points.
        agreed: Average precision of the detections against the float model's.
        accuracy: Average precision of both models against labels.
    """
    least, most = demanded
    found = []
    if least is not None:
        value = math.nan if agreed is None else 100 * agreed.ap
        found.append(Limit("--min-agreement", least, value, value >= least - _ROUNDING))
    if most is not None:
        value = math.nan if accuracy is None else 100 * (accuracy[0].ap - accuracy[1].ap)
        found.append(Limit("--max-drop", most, value, value <= most + _ROUNDING))
    return tuple(found)
