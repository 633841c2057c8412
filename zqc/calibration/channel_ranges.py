"""The range of each channel of a tensor, which is what equalization asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.arithmetic import integer_range
from zqc.calibration.tensor_reader import TensorReader

SAMPLES = 16384
"""Values per channel over all pictures, where there are so many: with an eighth of them YOLOv8n
loses two AP at W4A4, as the largest are missed. Deep layers have fewer, and shallow ones few
channels, so that memory stays within some hundred bytes per pixel of the pictures."""

_OCTAVES, _PER_OCTAVE = 4, 4
"""Steps that are tried: from the one that just does not clip, four octaves down."""

_SHIFTS = np.arange(5) / 16
"""Zero points of tensors that reach a little below zero, as parts of the integers."""

_DEAD = 2.0**-16
"""A channel that reaches no further than this part of the tensor's maximum carries nothing."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Thresholds:
    """What the channels of one tensor ask for.

    Attributes:
        channel_ranges: Threshold of the grid of least error of each channel, shape (C,), 0 for dead
            ones.
        common: The power of two at or above all of them: with this threshold for all, a channel c
            that is scaled by common/channel_ranges[c] gets just its own grid, and its step is a
            power of two.
    """

    channel_ranges: Floats
    common: float


def channel_thresholds(
    model: ir.Model,
    tensors: Sequence[str],
    batches: Iterable[NDArray[np.float32]],
    *,
    bits: int,
    pictures: int,
    nonnegative: Collection[str] = (),
    slightly_negative: Collection[str] = (),
    threads: int | None = None,
) -> dict[str, Thresholds]:
    """Find for every channel the grid of least squared error, its step not a power of two.

    The channels of a tensor share their integers: all are signed, or all unsigned with one zero
    point. Of the zero points, the one of the least error over all channels is taken.

    Args:
        model: A float model with one input.
        tensors: Names of inputs or intermediate tensors, channels on axis 1.
        batches: Input tensors (N, C, H, W); each is run once and forgotten.
        bits: Bits of the grids.
        pictures: How many there are in ``batches``.
        nonnegative: Those of the tensors that are never below zero: unsigned, zero point 0.
        slightly_negative: Those that reach a little below zero: unsigned, the zero point searched.
        threads: Threads of ONNX Runtime.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    generator = np.random.default_rng(0)
    per_picture = max(SAMPLES // pictures, 1)
    seen: dict[str, list[NDArray[np.float32]]] = {name: [] for name in tensors}
    read = TensorReader(model, tensors, threads=threads)
    for batch in batches:
        values = read(batch)
        for name in tensors:
            seen[name].append(_sampled(values[name], per_picture, generator))
    found = {}
    for name, parts in seen.items():
        unsigned = name in nonnegative or name in slightly_negative
        shifts = _SHIFTS if name in slightly_negative else np.zeros(1)
        low, high = integer_range(bits=bits, signed=not unsigned)
        ranges = [(low - z, high - z) for z in map(round, shifts * 2**bits)]
        channel_ranges = _best_steps(np.concatenate(parts, axis=1), ranges) * 2.0 ** (
            bits - (not unsigned)
        )
        common = 2.0 ** np.ceil(np.log2(channel_ranges.max())) if channel_ranges.any() else 0.0
        found[name] = Thresholds(channel_ranges, float(common))
    return found


def _sampled(
    array: NDArray[np.float32], per_picture: int, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Take some positions of every picture, one in each of as many equal stretches: (C, values).

    What has no axis of channels is one channel.
    """
    array = array if array.ndim > 1 else array.reshape(-1, 1)
    flat = array.reshape(*array.shape[:2], -1)
    positions = flat.shape[2]
    if positions > per_picture:
        stretches = np.arange(per_picture) + generator.random((len(flat), per_picture))
        picked = (stretches / per_picture * positions).astype(np.int64)
        flat = np.take_along_axis(flat, picked[:, None, :], axis=2)
    return flat.transpose(1, 0, 2).reshape(array.shape[1], -1)


def _best_steps(values: NDArray[np.float32], ranges: Sequence[tuple[int, int]]) -> Floats:
    """Return the step Δ of each channel, 0 for dead ones, for the best of the integer ranges.

    Args:
        values: Shape (C, values).
        ranges: Smallest and largest integer.
    """
    largest = np.abs(values).max(axis=1, initial=0.0)
    dead = largest <= _DEAD * largest.max(initial=0.0)
    widest = np.where(dead, 1, largest).astype(np.float64) / max(high for _, high in ranges)
    ladder = widest * 2.0 ** (-np.arange(_OCTAVES * _PER_OCTAVE + 1)[:, None] / _PER_OCTAVE)
    errors = np.empty((len(ranges), *ladder.shape))
    for i, steps in enumerate(ladder.astype(np.float32)):
        scaled = values / steps[:, None]
        rounded = np.rint(scaled)
        for j, (low, high) in enumerate(ranges):
            difference = np.clip(rounded, low, high)
            difference -= scaled
            squares = np.einsum("cn,cn->c", difference, difference)
            errors[j, i] = squares * steps.astype(np.float64) ** 2
    best = errors.min(axis=1)[:, ~dead].sum(axis=1).argmin()
    chosen = np.take_along_axis(ladder, errors[best].argmin(axis=0)[None], axis=0)[0]
    return np.where(dead, 0.0, chosen)
