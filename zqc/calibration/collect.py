"""Ranges and means of tensors over calibration pictures, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import weighted_layers
from passes.graph import name_of
from zqc.calibration.histogram import Histogram, add, empty, merged
from zqc.calibration.second_moments import (
    Fold,
    Noise,
    RunningMoments,
    SecondMoments,
    input_columns,
)
from zqc.calibration.tensor_reader import TensorReader
from zqc.errors import RuntimeFailure

if TYPE_CHECKING:
    from zqc.progress import Task


_FOLDS = 2
"""Parts that the pictures of a single kind are in: what is rounded for one is judged by another."""


@dataclass(frozen=True)
class TensorStatistics:
    """What one tensor was like over all pictures.

    Attributes:
        histograms: Of its values, by kind of pictures.
        mean: Mean per channel (axis 1), shape (C,); of everything, shape (1,), below rank 2.
    """

    histograms: tuple[Histogram, ...]
    mean: NDArray[np.float64]

    @cached_property
    def histogram(self) -> Histogram:
        """Of all its values: one object, by which layers that read the same tensor are known."""
        return merged(self.histograms)


@dataclass(frozen=True)
class CalibrationStatistics:
    """What calibration saw.

    Attributes:
        tensors: By name of the tensor.
        folds: Moments of the layers' inputs in parts of the set: a part for each kind of pictures;
            of one kind, every other batch. One part where there is one batch.
        noise: What quantization adds to the layers' inputs, as far as that is known.
    """

    tensors: dict[str, TensorStatistics]
    folds: tuple[Fold, ...]
    noise: Noise = field(default_factory=dict)

    @property
    def moments(self) -> SecondMoments:
        """By name of the layer: E[x xᵀ] of its inputs with their noise, see ``input_moments``."""
        return SecondMoments(self.folds, self.noise)


def collect(
    model: ir.Model,
    tensors: Sequence[str],
    kinds: Sequence[Iterable[NDArray[np.float32]]],
    *,
    samples: int,
    task: Task,
    threads: int | None = None,
) -> CalibrationStatistics:
    """Count and average the values of tensors over all pictures.

    Args:
        model: A float model with one input.
        tensors: Names of inputs or intermediate tensors.
        kinds: The batches of each kind of pictures, input tensors (N, C, H, W); each is run once
            and forgotten. Means do not tell one kind from another.
        samples: Output positions per picture at which the input of each layer is looked at; 0 where
            no moments are wanted.
        task: Advanced by the number of pictures.
        threads: Threads of ONNX Runtime.

    Returns:
        The statistics of each tensor, and the moments of the inputs of the layers that read one.

    Raises:
        RuntimeFailure: A tensor became infinite or not a number, or ONNX Runtime failed.
    """
    read = TensorReader(model, tensors, threads=threads)
    histograms = {name: [empty() for _ in kinds] for name in tensors}
    sums = {name: np.zeros(1) for name in tensors}
    known = histograms if samples else {}
    layers = [n for n in weighted_layers(model.graph) if name_of(n.inputs[0]) in known]
    folds: list[dict[str, RunningMoments]] = [{} for _ in range(max(len(kinds), _FOLDS))]
    generator = np.random.default_rng(0)
    pictures = 0
    for number, (kind, batch) in enumerate(_numbered(kinds)):
        values = read(batch)
        fold = folds[kind if len(kinds) > 1 else number % _FOLDS]
        for name in tensors:
            array = values[name]
            try:
                histograms[name][kind] = add(histograms[name][kind], array)
            except FloatingPointError as error:
                raise RuntimeFailure(
                    f"tensor {name!r} became infinite or not a number on a calibration picture; "
                    "check --input-range or --mean/--std"
                ) from error
            sums[name] = sums[name] + _channel_means(array) * len(batch)
        for layer in layers:
            positions = generator.random(samples * len(batch))
            seen = input_columns(layer, values[name_of(layer.inputs[0])], positions)
            if seen is not None and layer.name:
                fold.setdefault(layer.name, RunningMoments()).add(seen)
        pictures += len(batch)
        task.advance(steps=len(batch))
    count = max(pictures, 1)
    return CalibrationStatistics(
        {name: TensorStatistics(tuple(histograms[name]), sums[name] / count) for name in tensors},
        tuple({n: running.moments() for n, running in fold.items()} for fold in folds if fold),
    )


def _numbered(
    kinds: Sequence[Iterable[NDArray[np.float32]]],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """All batches, each with the number of its kind."""
    for kind, batches in enumerate(kinds):
        for batch in batches:
            yield kind, batch


def _channel_means(array: NDArray[np.float32]) -> NDArray[np.float64]:
    if array.ndim < 2:
        return np.array([array.mean(dtype=np.float64)])
    axes = (0, *range(2, array.ndim))
    means: NDArray[np.float64] = array.mean(axis=axes, dtype=np.float64)
    return means
