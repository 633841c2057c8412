"""The gradient of GridSample (Jaderberg et al. 2015, arXiv:1506.02025, section 3.3).

Each place that is looked at has up to four neighbours. Each of them has a weight, and the image
gets dy times the weight there. The grid gets the slope of the weights times what dy finds at the
neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from zqc.autodiff.rules.scattering import added, zeros_like

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.autodiff.context import Context, Vjp

_MODES = {"bilinear": "linear", "linear": "linear", "nearest": "nearest"}


@dataclass(frozen=True)
class _Tap:
    """The neighbour on one axis of every place; all values have the shape (N, 1, P).

    Attributes:
        index: Its number, within the image, INT64.
        weight: What it counts: 0 outside of the image.
        slope: Change of the weight with the number in the grid; None where it is flat.
    """

    index: ir.Value
    weight: ir.Value
    slope: ir.Value | None


def grid_sample(
    at: Context,
    x: ir.Value,
    grid: ir.Value,
    *,
    align_corners: int = 0,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
) -> Sequence[Vjp]:
    """The image gets dy where it was read, with the weights; the grid gets none where nearest."""
    if len(at.dims(x)) != 4:
        raise at.refusal("its image has more than two axes")
    if mode not in _MODES:
        raise at.refusal(f"mode={mode!r}")
    sampler = _Sampler(at, x, grid, bool(align_corners), _MODES[mode], padding_mode)
    return [sampler.image, sampler.grid_slope if sampler.mode == "linear" else None]


@dataclass(frozen=True)
class _Sampler:
    """A GridSample of an image (N, C, H, W) at P places of a grid (N, …, 2), (x, y) in −1…1."""

    at: Context
    x: ir.Value
    grid: ir.Value
    align_corners: bool
    mode: str
    padding: str

    def image(self) -> ir.Value:
        """Emit the gradient of the image."""
        at = self.at
        dy = at.op("Reshape", at.dy, [0, 0, -1])
        total = zeros_like(at, self._flat())
        for row, column in product(*self._taps()):
            weighted = at.op("Mul", dy, at.op("Mul", row.weight, column.weight))
            places = self._places(row, column, dy)
            total = added(at, "ScatterElements", total, places, weighted, axis=2)
        return at.reshape(total, at.dims(self.x), self.x)

    def grid_slope(self) -> ir.Value:
        """Emit the gradient of the grid."""
        at = self.at
        dy, flat = at.op("Reshape", at.dy, [0, 0, -1]), self._flat()
        across: list[ir.Value] = []
        down: list[ir.Value] = []
        for row, column in product(*self._taps()):
            found = at.op("GatherElements", flat, self._places(row, column, dy), axis=2)
            value = at.sum(at.op("Mul", dy, found), [1])
            for parts, moved, still in ((across, column, row), (down, row, column)):
                assert moved.slope is not None  # of a linear one
                parts.append(at.op("Mul", value, at.op("Mul", moved.slope, still.weight)))
        ends = [at.op("Unsqueeze", at.total(parts), [-1]) for parts in (across, down)]
        return at.reshape(at.op("Concat", *ends, axis=-1), at.dims(self.grid), self.grid)

    def _flat(self) -> ir.Value:
        height, width = self.at.sizes(self.x, (2, 3))
        return self.at.op("Reshape", self.x, [0, 0, height * width])

    def _places(self, row: _Tap, column: _Tap, like: ir.Value) -> ir.Value:
        """Where the neighbours stand in the flat image, for each channel."""
        at = self.at
        (width,) = at.sizes(self.x, [3])
        start = at.op("Mul", row.index, np.asarray(width, np.int64))
        return at.op("Expand", at.op("Add", start, column.index), at.op("Shape", like))

    def _taps(self) -> tuple[list[_Tap], list[_Tap]]:
        """The neighbours of every place on the axis of rows, and on that of columns."""
        at = self.at
        pairs = at.op("Reshape", self.grid, [0, 1, -1, 2])
        height, width = at.sizes(self.x, (2, 3))
        across, down = (at.op("Gather", pairs, np.asarray(i), axis=3) for i in range(2))
        return self._taps_along(down, height), self._taps_along(across, width)

    def _taps_along(self, number: ir.Value, size: int) -> list[_Tap]:
        at = self.at
        place, slope = self._padded(number, size)
        if self.mode == "nearest":
            nearest = at.op("Round", place)
            return [_Tap(self._index(nearest, size), self._inside(nearest, size), None)]
        below = at.op("Floor", place)
        above = at.op("Add", below, 1.0)
        rest = at.op("Sub", place, below)
        taps = []
        for tap, share, sign in ((below, at.op("Sub", 1.0, rest), -1.0), (above, rest, 1.0)):
            inside = self._inside(tap, size)
            fall = at.op("Mul", at.op("Mul", slope, sign), inside)
            taps.append(_Tap(self._index(tap, size), at.op("Mul", share, inside), fall))
        return taps

    def _index(self, tap: ir.Value, size: int) -> ir.Value:
        within = self.at.op("Clip", tap, 0.0, float(size - 1))
        return self.at.op("Cast", within, to=int(ir.DataType.INT64))

    def _inside(self, tap: ir.Value, size: int) -> ir.Value:
        at = self.at
        return at.mask(at.op("Equal", tap, at.op("Clip", tap, 0.0, float(size - 1))))

    def _padded(self, number: ir.Value, size: int) -> tuple[ir.Value, ir.Value]:
        """The place in pixels that a number of the grid means, and its slope."""
        at = self.at
        factor = (size - 1 if self.align_corners else size) / 2
        place = at.op("Add", at.op("Mul", number, float(factor)), (size - 1) / 2)
        slope = at.op("Mul", at.op("Add", at.op("Mul", number, 0.0), 1.0), float(factor))
        if self.padding == "zeros":
            return place, slope
        if self.padding == "reflection":
            place, sign = self._reflected(place, size)
            slope = at.op("Mul", slope, sign)
        elif self.padding != "border":
            raise at.refusal(f"padding_mode={self.padding!r}")
        clipped = at.op("Clip", place, 0.0, float(size - 1))
        return clipped, at.op("Mul", slope, at.mask(at.op("Equal", clipped, place)))

    def _reflected(self, place: ir.Value, size: int) -> tuple[ir.Value, ir.Value]:
        """A place thrown back at both ends as often as need be, and 1 or −1, its slope.

        The ends are the middles of the outer pixels where corners are aligned, else their borders.
        """
        at = self.at
        low, span = (0.0, float(size - 1)) if self.align_corners else (-0.5, float(size))
        if not span:
            zero = at.op("Mul", place, 0.0)
            return zero, zero
        beyond = at.op("Sub", place, low)
        rounds = at.op("Floor", at.op("Mul", beyond, 1 / (2 * span)))
        from_end = at.op("Sub", at.op("Sub", beyond, at.op("Mul", rounds, 2 * span)), span)
        back = at.op("Sub", low + span, at.op("Abs", from_end))
        return back, at.op("Neg", at.op("Sign", from_end))
