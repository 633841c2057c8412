"""Second moments of what a layer's weights are multiplied with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import int_attribute, ints
from passes.layers import layer_of

LARGEST_BLOCK = 1152
"""Columns of one block: 128 channels of a 3×3 kernel. Inverting costs the cube of it."""

_LARGEST_FACTOR = 4.0
"""By which a channel is rescaled, or its reciprocal: what pictures hardly show of a channel says
little of how it goes with others."""

_SHRINKAGE = 0.05
"""Share of what neighbours have in common that is taken to be of the pictures alone."""

SAMPLES_AT_ONCE = 128
"""Samples that are multiplied at once: adding up the products costs the same for one as for all."""


@dataclass(frozen=True, eq=False)
class Moments:
    """What the columns x of ``input_columns`` are like over some pictures.

    Attributes:
        second: M = E[x xᵀ], shape (groups, blocks, K, K).
        mean: E[x], shape (groups, blocks, K).
        samples: Over how many samples.
    """

    second: NDArray[np.float64]
    mean: NDArray[np.float64]
    samples: int

    @classmethod
    def together(cls, parts: Sequence[Moments]) -> Moments:
        """Those over the samples of all parts, at least one, of the same columns."""
        if len(parts) == 1:
            return parts[0]
        total = sum(one.samples for one in parts)
        second, mean = (
            np.asarray(sum(getattr(one, of) * (one.samples / total) for one in parts))
            for of in ("second", "mean")
        )
        return cls(second, mean, total)

    def scaled(self, factors: NDArray[np.float64]) -> Moments:
        """Those of the same columns where each channel is multiplied with a factor, shape (C,)."""
        each = np.repeat(factors, self.mean.size // len(factors)).reshape(self.mean.shape)
        second = self.second * each[..., np.newaxis] * each[..., np.newaxis, :]
        return replace(self, second=second, mean=self.mean * each)


Fold = Mapping[str, Moments]
"""Of one part of the calibration set, by name of the layer."""


Noise = Mapping[str, NDArray[np.float64]]
"""Variance of what quantization adds to a layer's columns, (groups, blocks, K), by its name."""


class SecondMoments(Mapping[str, NDArray[np.float64]]):
    """M of each layer over the samples of several folds, computed when it is asked for.

    Args:
        folds: The folds, all of the same layers.
        noise: What comes on top of the samples, independent of them and of each other; nothing for
            layers that are not there.
    """

    def __init__(self, folds: Sequence[Fold], noise: Noise = MappingProxyType({})) -> None:
        self._folds = folds
        self._noise = noise

    def __getitem__(self, layer: str) -> NDArray[np.float64]:
        """M of a layer."""
        if layer not in self:
            raise KeyError(layer)
        return noisy([fold[layer] for fold in self._folds], self._noise.get(layer)).second

    def __contains__(self, layer: object) -> bool:
        """Whether there is such a layer; nothing is computed for it."""
        return bool(self._folds) and layer in self._folds[0]

    def __iter__(self) -> Iterator[str]:
        """The names of the layers."""
        return iter(self._folds[0] if self._folds else ())

    def __len__(self) -> int:
        """The number of layers."""
        return len(self._folds[0]) if self._folds else 0


def noisy(parts: Sequence[Moments], noise: NDArray[np.float64] | None) -> Moments:
    """The moments of all parts together, and of noise on every column, see ``Noise``."""
    moments = Moments.together(parts)
    if noise is None:
        return moments
    columns = moments.mean.shape[-1]
    return replace(moments, second=moments.second + noise[..., np.newaxis] * np.eye(columns))


class RunningMoments:
    """``Moments`` over samples that come a few at a time, all the same number per picture."""

    def __init__(self) -> None:
        self._waiting: list[NDArray[np.float32]] = []
        self._sum: NDArray[np.float64] | None = None
        self._total = np.zeros(())
        self._samples = 0

    def add(self, columns: NDArray[np.float32]) -> None:
        """Take more samples, shape (groups, blocks, K, samples)."""
        self._waiting.append(columns)
        if sum(columns.shape[-1] for columns in self._waiting) >= SAMPLES_AT_ONCE:
            self._multiply()

    def moments(self) -> Moments:
        """Return what all samples are like."""
        self._multiply()
        assert self._sum is not None  # there are some for every layer that was looked at
        return Moments(self._sum / self._samples, self._total / self._samples, self._samples)

    def _multiply(self) -> None:
        if self._waiting:
            columns = np.concatenate(self._waiting, axis=-1)
            self._waiting.clear()
            self._samples += columns.shape[-1]
            new, total = products(columns), columns.sum(axis=-1, dtype=np.float64)
            if self._sum is None:
                self._sum = np.zeros(new.shape)
            self._sum += new
            self._total = self._total + total


def input_moments(
    node: ir.Node, values: NDArray[np.float32], positions: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Estimate E[x xᵀ] of the columns x that the weights of a Conv or Gemm are multiplied with.

    Columns stand in the order of the flattened weight, (C_in / groups)·k_h·k_w per group. Where
    these are more than ``LARGEST_BLOCK``, products between blocks of channels are taken as 0.

    Args:
        node: A layer with a constant weight.
        values: Its input, (N, C, H, W) or (N, C).
        positions: Where output positions are sampled, as fractions in [0, 1), shape (samples,).

    Returns:
        Shape (groups, blocks, K, K); None for layers without such columns: ConvTranspose, MatMul,
        other dimensions than 2, automatic padding.
    """
    columns = input_columns(node, values, positions)
    return None if columns is None else products(columns).astype(np.float64) / len(positions)


def input_columns(
    node: ir.Node, values: NDArray[np.float32], positions: NDArray[np.float64]
) -> NDArray[np.float32] | None:
    """Sample the columns of ``input_moments``: shape (groups, blocks, K, samples)."""
    layer = layer_of(node)
    if layer is None:
        return None
    weight = layer.weight
    if node.op_type == "Gemm" and values.ndim == 2 and not int_attribute(node, "transA", 0):
        rows = values.T[:, None, (positions * len(values)).astype(np.int64)]
        groups = 1
    elif node.op_type == "Conv" and weight.ndim == 4 and "auto_pad" not in node.attributes:
        rows = _patches(node, weight.shape, values, positions)
        groups = layer.groups
    else:
        return None
    channels, kernel, samples = rows.shape
    per_group = channels // groups
    per_block = _channels_per_block(per_group, kernel)
    return rows.reshape(groups, per_group // per_block, per_block * kernel, samples)


def known_better(moments: Moments, second: NDArray[np.float64]) -> Moments:
    """Return the moments of made-up pictures, corrected by what the statistics know of an input.

    1. Each channel is multiplied by √(E[x_c²] / what the pictures have of it), a factor within
       bounds; how it goes with others stays as the pictures show it.
    2. Under kernels that see more than one position of more than one channel, everything off the
       diagonal shrinks: neighbours in made-up pictures are more alike than in real ones.

    Both are our choice, see docs/methods.md.

    Args:
        moments: Of the columns of a layer, channel by channel.
        second: E[x_c²] of all channels of its input, shape (C,), C·k_h·k_w columns in all.
    """
    products, (groups, blocks, columns) = moments.second, moments.mean.shape
    kernel = groups * blocks * columns // len(second)
    diagonal = np.diagonal(products, axis1=-2, axis2=-1)
    seen = diagonal.reshape(len(second), kernel).mean(axis=1)
    ratio = second / np.maximum(seen, np.finfo(np.float32).tiny)
    factors = np.sqrt(ratio).clip(1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
    if 1 < kernel < columns:
        own = _SHRINKAGE * diagonal[..., np.newaxis] * np.eye(columns)
        products = (1 - _SHRINKAGE) * products + own
    return replace(moments, second=products).scaled(factors)


def products(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum x xᵀ over the samples of ``input_columns``: shape (groups, blocks, K, K)."""
    stacked = np.ascontiguousarray(columns)
    sums: NDArray[np.float32] = np.matmul(stacked, stacked.swapaxes(-1, -2))
    return sums


def _channels_per_block(channels: int, kernel: int) -> int:
    """Largest divisor of the channels with which a block stays within bounds."""
    fitting = [
        n for n in range(1, channels + 1) if channels % n == 0 and n * kernel <= LARGEST_BLOCK
    ]
    return max(fitting, default=1)


def _patches(
    node: ir.Node,
    weight_shape: tuple[int, ...],
    values: NDArray[np.float32],
    positions: NDArray[np.float64],
) -> NDArray[np.float32]:
    """What the kernel sees at the sampled output positions, (C, k_h·k_w, samples)."""
    count, channels, height, width = values.shape
    kernel = weight_shape[2:]
    top, left, bottom, right = ints(node, "pads", (0, 0, 0, 0))
    strides, dilations = ints(node, "strides", (1, 1)), ints(node, "dilations", (1, 1))
    down = (height + top + bottom - (kernel[0] - 1) * dilations[0] - 1) // strides[0] + 1
    across = (width + left + right - (kernel[1] - 1) * dilations[1] - 1) // strides[1] + 1
    index = (positions * (count * down * across)).astype(np.int64)
    rows = _seen(index // across % down, kernel[0], strides[0], dilations[0], top)[:, None]
    columns = _seen(index % across, kernel[1], strides[1], dilations[1], left)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    first = index // (down * across) * (height * width)
    pixels = first + rows.clip(0, height - 1) * width + columns.clip(0, width - 1)
    planes = values.swapaxes(0, 1).reshape(channels, -1)  # one picture is not copied
    picked: NDArray[np.float32] = planes.take(pixels.reshape(-1), axis=1)
    picked *= inside.reshape(-1)
    return picked.reshape(channels, math.prod(kernel), len(index))


def _seen(
    outputs: NDArray[np.int64], kernel: int, stride: int, dilation: int, before: int
) -> NDArray[np.int64]:
    """Input positions along one axis, (kernel, samples); some may lie in the padding."""
    first: NDArray[np.int64] = outputs * stride - before
    return first + np.arange(kernel)[:, None] * dilation
