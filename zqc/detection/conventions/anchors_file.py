"""Anchors that users give in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zqc.errors import OptionError
from zqc.parsing.arrays import read_npy
from zqc.parsing.text import ParseError


def read_anchors(path: Path) -> NDArray[np.float32]:
    """Read anchors (cy, cx, h, w), one in a row, from an ``.npy``.

    Raises:
        OptionError: It cannot be read, or is something else.
    """
    try:
        anchors = read_npy(path)
    except OSError as error:
        raise OptionError(f"cannot read the anchors {path}: {error.strerror or error}") from error
    except ParseError as error:
        raise OptionError(f"the file of the anchors {path} {error}") from error
    if (
        not np.issubdtype(anchors.dtype, np.floating)
        or anchors.ndim != 2
        or anchors.shape[1] != 4
        or not np.isfinite(anchors).all()
    ):
        raise OptionError(f"{path} must be an .npy of finite floats (cy, cx, h, w), shape A x 4")
    return np.asarray(anchors, np.float32)
