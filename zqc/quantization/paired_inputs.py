"""What layers read in a float model and, at the same places, in a quantized one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import weighted_layers
from passes.graph import name_of
from zqc.calibration.second_moments import input_columns
from zqc.calibration.tensor_reader import TensorReader

_Read = tuple[ir.Node, NDArray[np.float32], NDArray[np.float32]]
"""A layer of the float model, and what it reads there and in the quantized one."""


@dataclass(frozen=True)
class Inputs:
    """What a layer reads in the float model, x, and in the quantized one, x̂, at the same places.

    Attributes:
        mean: μ of the columns of ``input_columns``, shape (groups, blocks, K); of the channels,
            shape (C,), where a layer has no such columns.
        quantized_mean: μ̂ likewise.
        covariance: C = E[(x̂ − μ̂)(x̂ − μ̂)ᵀ], shape (groups, blocks, K, K); None without columns.
        drift: D = E[((x − μ) − (x̂ − μ̂))(x̂ − μ̂)ᵀ] likewise.
    """

    mean: NDArray[np.float64]
    quantized_mean: NDArray[np.float64]
    covariance: NDArray[np.float64] | None = None
    drift: NDArray[np.float64] | None = None


def paired_inputs(
    model: ir.Model,
    quantized: ir.Model,
    layers: Sequence[tuple[ir.Node, ir.Node]],
    batches: Iterable[NDArray[np.float32]],
    *,
    samples: int,
    generator: np.random.Generator,
    threads: int | None = None,
) -> list[Inputs]:
    """Run both models up to some layers and measure what these read.

    The quantized model runs as it is written: ONNX Runtime would round float weights between
    quantized tensors to 8 bits, one step for all channels.

    Args:
        model: A float model with one input.
        quantized: The same with quantized tensors.
        layers: Each layer in the float model, with a constant weight, and in the quantized one.
        batches: Input tensors (N, C, H, W); each is run once and forgotten.
        samples: Output positions per picture at which each layer is looked at.
        generator: Chooses the positions.
        threads: Threads of ONNX Runtime.

    Returns:
        The inputs of each layer.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    sums: list[list[NDArray[np.float64]]] = []
    total = 0
    for size, read in _read(model, quantized, layers, batches, threads):
        count = samples * size
        new = [_sums(node, x, y, generator.random(count)) for node, x, y in read]
        sums = [list(map(np.add, *pair)) for pair in zip(sums, new, strict=True)] if sums else new
        total += count
    return [_inputs([each / total for each in of]) for of in sums]


def input_noise(
    model: ir.Model,
    quantized: ir.Model,
    batches: Iterable[NDArray[np.float32]],
    *,
    samples: int,
    generator: np.random.Generator,
    threads: int | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Measure the variance of what quantization adds to the inputs of the layers.

    Args: As ``paired_inputs``, for all layers that both models have.

    Returns:
        By name of the layer, for each of its columns, shape (groups, blocks, K); nothing for layers
        without columns (``input_columns``).

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    twins = {node.name: node for node in quantized.graph}
    nodes = [node for node in weighted_layers(model.graph) if node.name in twins]
    layers = [(node, twins[node.name]) for node in nodes]
    sums: dict[str, NDArray[np.float64]] = {}
    total = 0
    for size, read in _read(model, quantized, layers, batches, threads):
        count = samples * size
        for node, x, y in read:
            added = input_columns(node, y - x, generator.random(count))
            if added is not None:
                new = [np.sum(p, -1, dtype=np.float64) for p in (added, np.square(added))]
                sums[node.name or ""] = sums.get(node.name or "", 0.0) + np.stack(new)
        total += count
    means = {name: of / total for name, of in sums.items()}
    return {name: np.maximum(square - mean**2, 0) for name, (mean, square) in means.items()}


def _read(
    model: ir.Model,
    quantized: ir.Model,
    layers: Sequence[tuple[ir.Node, ir.Node]],
    batches: Iterable[NDArray[np.float32]],
    threads: int | None,
) -> Iterator[tuple[int, list[_Read]]]:
    """For each batch how many pictures it has, and what all layers read."""
    pairs = [(node, name_of(node.inputs[0]), name_of(twin.inputs[0])) for node, twin in layers]
    exact = TensorReader(model, [name for _, name, _ in pairs], threads=threads)
    names = [name for _, _, name in pairs]
    rounded = TensorReader(quantized, names, threads=threads, optimize=False)
    for batch in batches:
        x, y = exact(batch), rounded(batch)
        yield len(batch), [(node, x[name], y[twin]) for node, name, twin in pairs]


def _sums(
    node: ir.Node,
    exact: NDArray[np.float32],
    rounded: NDArray[np.float32],
    positions: NDArray[np.float64],
) -> list[NDArray[np.float64]]:
    """Σx, Σx̂ and, where there are columns, Σx̂x̂ᵀ and Σxx̂ᵀ over the positions."""
    x, y = (input_columns(node, values, positions) for values in (exact, rounded))
    if x is None or y is None:
        axes = (0, *range(2, exact.ndim))
        means = [values.mean(axis=axes, dtype=np.float64) for values in (exact, rounded)]
        return [mean * len(positions) for mean in means]
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    turned = y.swapaxes(-1, -2)
    sums = [columns.sum(axis=-1, dtype=np.float64) for columns in (x, y)]
    return sums + [np.matmul(left, turned).astype(np.float64) for left in (y, x)]


def _inputs(means: Sequence[NDArray[np.float64]]) -> Inputs:
    mean, quantized_mean, *products = means
    if not products:
        return Inputs(mean, quantized_mean)
    square, product = products
    covariance = square - quantized_mean[..., None] * quantized_mean[..., None, :]
    drift = product - mean[..., None] * quantized_mean[..., None, :] - covariance
    return Inputs(mean, quantized_mean, covariance, drift)
