"""Second moments of what a layer's weights are multiplied with."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from passes.graph import constant, int_attribute, ints

LARGEST_BLOCK = 1152
"""Columns of one block: 128 channels of a 3×3 kernel. Inverting costs the cube of it."""


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
    weight = constant(node.inputs[1])
    if weight is None:
        return None
    if node.op_type == "Gemm" and values.ndim == 2 and not int_attribute(node, "transA", 0):
        rows = values[(positions * len(values)).astype(np.int64)][:, :, None]
        groups = 1
    elif node.op_type == "Conv" and weight.ndim == 4 and "auto_pad" not in node.attributes:
        rows = _patches(node, weight.shape, values, positions)
        groups = int_attribute(node, "group", 1)
    else:
        return None
    samples, channels, kernel = rows.shape
    per_group = channels // groups
    per_block = _channels_per_block(per_group, kernel)
    columns = rows.reshape(samples, groups, per_group // per_block, per_block * kernel)
    stacked = columns.transpose(1, 2, 3, 0)
    products: NDArray[np.float64] = np.matmul(stacked, stacked.swapaxes(-1, -2)) / samples
    return products


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
    """What the kernel sees at the sampled output positions, (samples, C, k_h·k_w)."""
    kernel = weight_shape[2:]
    top, left, bottom, right = ints(node, "pads", (0, 0, 0, 0))
    down, across = ints(node, "strides", (1, 1))
    dilations = ints(node, "dilations", (1, 1))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(padded, spans, axis=(2, 3))
    seen = windows[:, :, ::down, ::across, :: dilations[0], :: dilations[1]]
    count, channels, height, width = seen.shape[:4]
    index = (positions * (count * height * width)).astype(np.int64)
    picked = seen[index // (height * width), :, index // width % height, index % width]
    return picked.reshape(len(index), channels, math.prod(kernel))
