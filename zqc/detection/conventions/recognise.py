"""Which convention the outputs of a detector follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zqc.detection.conventions.convention import Convention, Facts
from zqc.detection.conventions.ssd import SsdLite
from zqc.detection.conventions.yolo import Yolo
from zqc.detection.conventions.yolov3 import YoloV3Tiny
from zqc.errors import OptionError

CONVENTIONS: tuple[type[Convention], ...] = (SsdLite, Yolo, YoloV3Tiny)
"""Every family, in the order in which they are asked: the first that knows its own is taken."""


def recognise(facts: Facts) -> Convention | None:
    """Find the convention that a detector's outputs follow.

    Returns:
        None when no family knows them: a guess would be worse.

    Raises:
        OptionError: What the user gave for a family, such as anchors, does not fit the outputs.
    """
    return next((found for family in CONVENTIONS if (found := family.of(facts))), None)


def read_anchors(path: Path) -> NDArray[np.float32]:
    """Read anchors (cy, cx, h, w), one in a row, from an ``.npy``.

    Raises:
        OptionError: It cannot be read, or is something else.
    """
    try:
        anchors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise OptionError(f"cannot read the anchors {path}: {error}") from error
    usable = isinstance(anchors, np.ndarray) and np.issubdtype(anchors.dtype, np.floating)
    if not usable or anchors.ndim != 2 or anchors.shape[1] != 4 or not np.isfinite(anchors).all():
        raise OptionError(f"{path} must be an .npy of finite floats (cy, cx, h, w), shape A x 4")
    return np.asarray(anchors, np.float32)
