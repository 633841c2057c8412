"""Anchors that users give in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zqc.errors import OptionError


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
