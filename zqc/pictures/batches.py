"""The calibration set in the batches that a model takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.pictures.images import ImageSet
from zqc.pictures.model_input import fixed_batch

_BATCH = 8
"""Pictures that are run at once where the model leaves its batch free."""


def batches_of(pictures: ImageSet, model: ir.Model) -> Iterator[NDArray[np.float32]]:
    """The pictures in batches that the model takes; a fixed batch is filled by repetition."""
    fixed = fixed_batch(model)
    for batch in pictures.batches(fixed or _BATCH):
        yield np.resize(batch, (fixed, *batch.shape[1:])) if fixed else batch


Batches = Callable[[], Iterable[NDArray[np.float32]]]
"""Gives the calibration pictures from the first one, as input tensors (N, C, H, W)."""


_SENSITIVITY_PICTURES = 16


def first_pictures(
    batches: Batches, count: int = _SENSITIVITY_PICTURES
) -> list[NDArray[np.float32]]:
    """Return batches with so many pictures at least, if there are so many."""
    found: list[NDArray[np.float32]] = []
    for batch in batches():
        found.append(batch)
        if sum(map(len, found)) >= count:
            break
    return found
