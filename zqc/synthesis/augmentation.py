"""From a canvas of pixels to the pixels that the model sees: smoothing and a random window.

Both are linear, so the way back is written beside each of them rather than asked of the autodiff.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

from zqc.synthesis.nodes import number, sizes, typed

_SIGMA = 1.25
"""Of the 3×3 Gaussian, as published (DGH, arXiv 2410.22110)."""

_PLACES = {
    "starts": 3,
    "ends": 3,
    "steps": 3,
    "turned_starts": 3,
    "turned_ends": 3,
    "pads": 8,
}
"""Inputs that say where the windows are, with the length of a picture's row."""

_BEFORE_FIRST = np.iinfo(np.int64).min
"""The end of a Slice that runs backwards through the first element."""


@dataclass(frozen=True)
class Smoothing:
    """A 3×3 Gaussian over the pixels that exist, so that borders keep their brightness.

    Attributes:
        kernel: Weight of a depthwise Conv, (C, 1, 3, 3).
        share: What its result is multiplied with, (1, 1, H, W): 1 but at the borders.
    """

    kernel: ir.Value
    share: ir.Value

    @classmethod
    def of(cls, tape: Tape, shape: Sequence[int]) -> Smoothing:
        """Register the constants for pictures of shape (N, C, H, W)."""
        _, count, height, width = shape
        taps = np.exp(-np.array([1.0, 0.0, 1.0]) / (2 * _SIGMA**2))
        taps /= taps.sum()
        rows, columns = (np.convolve(np.ones(size), taps)[1:-1] for size in (height, width))
        kernel = np.broadcast_to(np.outer(taps, taps), (count, 1, 3, 3)).astype(np.float32)
        share = (1 / np.outer(rows, columns)).reshape(1, 1, height, width).astype(np.float32)
        return cls(
            number(tape, "gaussian", np.ascontiguousarray(kernel)),
            number(tape, "gaussian_share", share),
        )

    def forward(self, tape: Tape, pictures: ir.Value) -> ir.Value:
        """Smooth pictures."""
        return tape.op("Mul", [self._convolved(tape, pictures), self.share])

    def backward(self, tape: Tape, slope: ir.Value) -> ir.Value:
        """Bring the slope of the smoothed pictures to the pictures: the kernel is symmetric."""
        return self._convolved(tape, tape.op("Mul", [slope, self.share]))

    def _convolved(self, tape: Tape, value: ir.Value) -> ir.Value:
        return tape.op(
            "Conv",
            [value, self.kernel],
            {"group": sizes(self.kernel)[0], "pads": (1, 1, 1, 1), "kernel_shape": (3, 3)},
        )


@dataclass(frozen=True)
class Windows:
    """Cuts a window out of each picture's canvas, mirrored or not.

    Attributes:
        inputs: The places as inputs of the graph, by name; ``random_places`` makes their arrays.
        axes: The constant axes of the slices.
    """

    inputs: dict[str, ir.Value]
    axes: ir.Value

    @classmethod
    def of(cls, tape: Tape, count: int) -> Windows:
        """Make the inputs for so many pictures and register the constants."""
        inputs = {
            name: typed(ir.Value(name=name), (count, width), ir.DataType.INT64)
            for name, width in _PLACES.items()
        }
        return cls(inputs, number(tape, "window_axes", [0, 2, 3], np.int64))

    def forward(self, tape: Tape, canvas: ir.Value) -> ir.Value:
        """Cut the windows, (N, C, h, w), out of canvases (N, C, H, W)."""
        return _joined(
            tape, [self._cut(tape, canvas, row, "starts", "ends") for row in self._rows(tape)]
        )

    def backward(self, tape: Tape, slope: ir.Value) -> ir.Value:
        """Bring the slope of the windows to the canvases, where it is 0 outside of them."""
        parts = [
            tape.op(
                "Pad", [self._cut(tape, slope, row, "turned_starts", "turned_ends"), row["pads"]]
            )
            for row in self._rows(tape)
        ]
        return _joined(tape, parts)

    def _rows(self, tape: Tape) -> list[dict[str, ir.Value]]:
        """The inputs picture by picture, each a vector."""
        count = sizes(self.inputs["starts"])[0]
        numbers = [number(tape, f"picture_{index}", index, np.int64) for index in range(count)]
        return [
            {
                name: tape.op("Gather", [value, index], {"axis": 0})
                for name, value in self.inputs.items()
            }
            for index in numbers
        ]

    def _cut(
        self, tape: Tape, value: ir.Value, row: dict[str, ir.Value], starts: str, ends: str
    ) -> ir.Value:
        return tape.op("Slice", [value, row[starts], row[ends], self.axes, row["steps"]])


def _joined(tape: Tape, parts: Sequence[ir.Value]) -> ir.Value:
    return parts[0] if len(parts) == 1 else tape.op("Concat", parts, {"axis": 0})


def places(
    offsets: NDArray[np.int64], mirrored: NDArray[np.bool_], size: tuple[int, int], margin: int
) -> dict[str, NDArray[np.int64]]:
    """Say where windows are, as the inputs of the graph want it.

    Args:
        offsets: First row and first column of each window in its canvas, (N, 2).
        mirrored: Whether the picture is mirrored, (N,).
        size: Height and width of a window.
        margin: By how many pixels a canvas is higher and wider than a window.
    """
    count, (height, width) = len(offsets), size
    top, left = offsets[:, 0], offsets[:, 1]
    index, zero = np.arange(count), np.zeros(count, np.int64)
    last = np.where(left > 0, left - 1, _BEFORE_FIRST)
    columns = {
        "starts": (index, top, np.where(mirrored, left + width - 1, left)),
        "ends": (index + 1, top + height, np.where(mirrored, last, left + width)),
        "steps": (zero + 1, zero + 1, np.where(mirrored, -1, 1)),
        "turned_starts": (index, zero, np.where(mirrored, width - 1, 0)),
        "turned_ends": (index + 1, zero + height, np.where(mirrored, _BEFORE_FIRST, width)),
        "pads": (zero, zero, top, left, zero, zero, margin - top, margin - left),
    }
    return {name: np.stack(parts, axis=1).astype(np.int64) for name, parts in columns.items()}


def random_places(
    generator: np.random.Generator, count: int, size: tuple[int, int], margin: int, *, flip: bool
) -> dict[str, NDArray[np.int64]]:
    """Draw a window and, if pictures may be mirrored, a side for each picture."""
    offsets = generator.integers(0, margin + 1, (count, 2))
    mirrored = generator.integers(0, 2, count).astype(bool) & flip
    return places(offsets, mirrored, size, margin)


def central_places(count: int, size: tuple[int, int], margin: int) -> dict[str, NDArray[np.int64]]:
    """The windows in the middle of their canvases, not mirrored."""
    offsets = np.full((count, 2), margin // 2)
    return places(offsets, np.zeros(count, bool), size, margin)
