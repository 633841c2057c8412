"""Any quantized model, as QuantizeLinear, DequantizeLinear and float layers between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rounding:
    """A tensor goes through QuantizeLinear, and comes back through DequantizeLinear.

    Attributes:
        name: Name of the QuantizeLinear.
        source: Name of the float tensor.
        step: Scale of the QuantizeLinear: one number, or one for each channel.
        zero: Its zero point likewise.
        step_back: Scale of the DequantizeLinear, the same unless something is wrong.
        zero_back: Its zero point.
        low: Smallest integer.
        high: Largest integer.
        path: Types of the operators between the layer and the tensor, none of them a pair.
    """

    name: str
    source: str
    step: NDArray[np.float64]
    zero: NDArray[np.float64]
    step_back: NDArray[np.float64]
    zero_back: NDArray[np.float64]
    low: int
    high: int
    path: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """Bits of the integers."""
        return int(self.high - self.low).bit_length()

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value."""
        step, zero = self.step_back, self.zero_back
        ends = np.array([(self.low - zero) * step, (self.high - zero) * step])
        return float(ends.min()), float(ends.max())

    @property
    def exponent(self) -> float:
        """log₂ of the threshold, the larger of the two ends, as one step beyond the grid."""
        low, high = self.bounds
        return float(np.log2(max(-low, high + float(self.step_back.max()))))

    def nearest(self, values: NDArray[np.floating], axis: int = 1) -> NDArray[np.float64]:
        """What becomes of values; with a step for each channel, these are on ``axis``."""
        shape = [-1 if index == axis else 1 for index in range(values.ndim)]
        step, zero, back, zero_back = (
            each if each.size == 1 else each.reshape(shape)
            for each in (self.step, self.zero, self.step_back, self.zero_back)
        )
        codes = np.clip(np.rint(values / step) + zero, self.low, self.high)
        return np.asarray((codes - zero_back) * back, np.float64)


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer of a quantized model.

    Attributes:
        node: The node.
        weight: What it multiplies by.
        bias: What it adds; None without a bias.
        bits: Bits of the weights, 32 for float.
        factors: What each output channel is multiplied by behind it, (C,), where that is known.
        outputs: The roundings of its output, up to its activation function.
        source: The rounding of its input; None where that is float.
        per_tensor: Whether all of its weights have one scale.
    """

    node: ir.Node
    weight: NDArray[np.float64]
    bias: NDArray[np.float64] | None
    bits: int
    factors: NDArray[np.float64] | None
    outputs: tuple[Rounding, ...] = ()
    source: Rounding | None = None
    per_tensor: bool = False


@dataclass(frozen=True)
class QuantizedModel:
    """A quantized model, read.

    Attributes:
        model: It, with float layers between pairs.
        layers: Its layers, in graph order.
        roundings: Every rounding of what depends on the picture, by the name of its node.
        behind: Names of the tensors that no layer stands behind.
    """

    model: ir.Model
    layers: tuple[QuantizedLayer, ...]
    roundings: Mapping[str, Rounding] = field(default_factory=dict)
    behind: frozenset[str] = frozenset()
