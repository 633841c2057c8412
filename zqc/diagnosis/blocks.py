"""Layers that compute several columns at a time (``passes.ColumnBlocks``), read as they were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from passes.graph import ints
from passes.layers import Layer


@dataclass(frozen=True)
class Columns:
    """How the columns of a layer are grouped.

    Attributes:
        kernel: Columns of its kernel.
        inputs: Columns of the input that are channels now.
        outputs: Columns of the output that are.
        before: Padding before the first column.
    """

    kernel: int
    inputs: int
    outputs: int
    before: int

    @classmethod
    def of(cls, layer: Layer, weight: NDArray[np.floating]) -> Columns | None:
        """Find the groups by which a layer's weight became another one; None if it did not."""
        old = layer.weight
        if layer.node.op_type != "Conv" or layer.groups > 1 or old.ndim != 4 or weight.ndim != 4:
            return None
        outputs, outputs_left = divmod(weight.shape[0], old.shape[0])
        inputs, inputs_left = divmod(weight.shape[1], old.shape[1])
        fits = outputs_left == inputs_left == 0 and outputs > 0 and inputs % max(outputs, 1) == 0
        if not fits or inputs < 2 or weight.shape[2] != old.shape[2]:
            return None
        before = ints(layer.node, "pads", (0, 0, 0, 0))[1]
        return cls(old.shape[3], inputs, outputs, before)

    def plain(self, weight: NDArray[np.floating], outs: int, channels: int) -> NDArray[np.float64]:
        """The weight of one column of the output, (C_out, C, rows, columns)."""
        grouped = weight.reshape(self.outputs, outs, self.inputs, channels, *weight.shape[2:])
        found = np.zeros((outs, channels, weight.shape[2], self.kernel))
        for column in range(self.kernel):
            block, place = self._place(column)
            found[..., column] = grouped[0, :, place, :, :, block]
        return found

    def grouped(self, weight: NDArray[np.floating], blocks: int) -> NDArray[np.float32]:
        """A plain weight as the layer has it, over so many blocks."""
        outs, channels, rows, _ = weight.shape
        shape = (self.outputs, outs, self.inputs, channels, rows, blocks)
        new = np.zeros(shape, np.float32)
        for output in range(self.outputs):
            for column in range(self.kernel):
                block, place = self._place(column + output * (self.inputs // self.outputs))
                new[output, :, place, :, :, block] = weight[..., column]
        return new.reshape(self.outputs * outs, self.inputs * channels, rows, blocks)

    def plain_output(self, output: NDArray[np.generic]) -> NDArray[np.generic]:
        """An output (N, columns · C, H, W / columns) as (N, C, H, W)."""
        count, channels, height, width = output.shape
        apart = output.reshape(count, self.outputs, channels // self.outputs, height, width)
        plain = apart.transpose(0, 2, 3, 4, 1)
        return plain.reshape(count, channels // self.outputs, height, width * self.outputs)

    def _place(self, column: int) -> tuple[int, int]:
        """The block that a column of the kernel reads, and the place in it."""
        block, place = divmod(column - self.before, self.inputs)
        return block - (-self.before // self.inputs), place
