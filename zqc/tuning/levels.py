"""Weights on levels (``passes.analysis.log_affine``) that a gradient goes through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.log_affine import LEVEL_BITS, WIDTHS, level_sets, nearest_levels, sets_of
from passes.arithmetic import integer_range
from passes.layers import along
from zqc.autodiff.emitter import Emitter

_RIM = 0.49
"""How far beyond the last level a weight may be, in integers: it is rounded to that level, and one
on the level has its gradient whole."""


@dataclass(frozen=True)
class Levels:
    """What the integers of a weight can be, see ``passes.analysis.log_affine``.

    Attributes:
        bits: Bits of the codes.
        sets: Which set of levels each channel has, broadcastable to the weight.
    """

    bits: int
    sets: NDArray[np.int64]

    @classmethod
    def of(cls, integers: NDArray[np.float64], axis: int, bits: int) -> Levels | None:
        """Those of a weight; None where its integers are those of a grid of so many bits."""
        low, high = integer_range(bits=bits, signed=True)
        if bits not in WIDTHS or (integers.min() >= low and integers.max() <= high):
            return None
        rows = np.moveaxis(integers, axis, 0).reshape(integers.shape[axis], -1)
        sets = sets_of(rows.astype(np.int8), bits)
        if sets is None:
            return None
        return cls(bits, along(axis, sets.astype(np.float64), integers.ndim).astype(np.int64))

    @property
    def stretch(self) -> int:
        """Integers that a step of a grid of so many bits is: what is trained is in such steps."""
        return 1 << (LEVEL_BITS - self.bits)

    def nearest(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """The levels next to numbers in such steps."""
        low, high = integer_range(bits=LEVEL_BITS, signed=True)
        place = np.clip(np.rint(steps * self.stretch), low, high).astype(np.int64)
        return nearest_levels(self.bits)[self.sets, place - low].astype(np.float64)

    def emit(self, emitter: Emitter, value: ir.Value, name: str) -> ir.Value:
        """Emit the same so that a gradient goes through, up to the last level on either side.

        A level is the integer, and what the integer has to change by: that is looked up, which no
        gradient goes through.
        """
        low, high = integer_range(bits=LEVEL_BITS, signed=True)
        first, last = (level_sets(self.bits)[self.sets, end] for end in (0, -1))
        least, most = (np.asarray(end, np.float32) for end in (first - _RIM, last + _RIM))
        wide = emitter.op("Mul", [value, float(self.stretch)], {}, name)
        above = emitter.op("Max", [wide, emitter.array(least, name)], {}, name)
        within = emitter.op("Min", [above, emitter.array(most, name)], {}, name)
        rounded = emitter.op("Round", [within], {}, name)
        changes = nearest_levels(self.bits).astype(np.float32) - np.arange(low, high + 1)
        row = (self.sets * changes.shape[1] - low).astype(np.float32)
        place = emitter.op("Add", [rounded, emitter.array(row, name)], {}, name)
        index = emitter.op("Cast", [place], {"to": ir.DataType.INT32.value}, name)
        table = emitter.array(changes.reshape(-1).astype(np.float32), name)
        change = emitter.op("Gather", [table, index], {"axis": 0}, name)
        return emitter.op("Add", [rounded, change], {}, name)
