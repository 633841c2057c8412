"""The calibration set in the batches that a model takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.pictures.images import ImageSet
from zqc.pictures.model_input import fixed_batch

MOST_AT_ONCE = 8
"""Pictures that are run at once where the model leaves its batch free, and memory allows it."""

SENSITIVITY_PICTURES = 16
"""Of which gradients are taken: a few are enough, and a gradient costs three runs."""


@dataclass(frozen=True)
class Batches:
    """Pictures as input tensors (N, C, H, W), batch by batch, as often as they are asked for.

    The length is the number of pictures.

    Attributes:
        pictures: The calibration set.
        size: Pictures in a batch.
        fills: Whether the last batch is filled up by repetition, for a model of a fixed batch.
    """

    pictures: ImageSet
    size: int = MOST_AT_ONCE
    fills: bool = False

    @classmethod
    def of(cls, pictures: ImageSet, model: ir.Model, *, most: int = MOST_AT_ONCE) -> Batches:
        """The batches that a model takes, of ``most`` pictures where it leaves that free.

        Inputs beside the picture have a value for one picture where they have one for each, and
        one picture at a time then.
        """
        fixed, single = fixed_batch(model), any(map(_is_per_picture, model.graph.inputs[1:]))
        return cls(pictures, fixed or (1 if single else most), fixed is not None)

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for batch in self.pictures.batches(self.size):
            yield np.resize(batch, (self.size, *batch.shape[1:])) if self.fills else batch

    @property
    def kinds(self) -> tuple[Batches, ...]:
        """The same pictures, each kind of them alone."""
        return tuple(replace(self, pictures=kind) for kind in self.pictures.kinds)

    def first(self, count: int) -> list[NDArray[np.float32]]:
        """Return batches with so many pictures at least, if there are so many."""
        found: list[NDArray[np.float32]] = []
        for batch in self:
            found.append(batch)
            if sum(map(len, found)) >= count:
                break
        return found


def _is_per_picture(value: ir.Value) -> bool:
    shape = value.shape
    return shape is not None and len(shape) > 0 and not isinstance(shape[0], int)
