"""The pictures of a set while they are optimised: what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from zqc.runtime.session import DeviceArray, to_device
from zqc.synthesis.labels import Labels
from zqc.synthesis.matching import Vector
from zqc.synthesis.objective import MOMENTS, STATE, state_shapes


@dataclass
class State:
    """The only thing that a synthesis changes.

    Attributes:
        batches: Canvases and optimiser moments of each batch, where ONNX Runtime keeps them.
        moments: What each batch contributes to the pooled moments: by name, (batches, K).
        iteration: Complete passes over the set.
        position: Batches of the pass in hand that are done.
        losses: Loss of the whole set before the first and after each complete pass.
        labels: What the pictures of each batch are to show; empty where that is open.
    """

    batches: list[dict[str, DeviceArray]]
    moments: dict[str, NDArray[np.float64]]
    iteration: int = 0
    position: int = 0
    losses: list[float] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)

    @classmethod
    def start(cls, pixels: NDArray[np.float32], sizes: Sequence[int], channels: int) -> State:
        """Begin a synthesis.

        Args:
            pixels: The first canvases, (N, C, H, W).
            sizes: Pictures of each batch.
            channels: K, channels of all matched layers.
        """
        moments = {name: np.zeros((len(sizes), channels)) for name in MOMENTS}
        return cls(_first(pixels, sizes), moments)

    def anew(self, pixels: NDArray[np.float32], sizes: Sequence[int]) -> None:
        """Begin with other canvases; the labels and the number of passes stay."""
        self.batches = _first(pixels, sizes)
        self.losses.clear()

    def pooled(self) -> tuple[Vector, Vector]:
        """E[x] and E[x²] over the whole set, (K,) each."""
        first, second = (self.moments[name].sum(axis=0) for name in MOMENTS)
        return first, second

    def step(self, index: int, batch: Mapping[str, DeviceArray]) -> None:
        """Store a batch after its step, in the place that it has had."""
        for name, value in batch.items():
            self.batches[index][name].update_inplace(value.numpy())

    def contribute(self, index: int, outputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Store what a batch contributes to them."""
        for name in MOMENTS:
            self.moments[name][index] = outputs[name]

    def end(self) -> None:
        """Forget what only further steps need, which takes as much room as the pictures."""
        self.batches = [{STATE[0]: batch[STATE[0]]} for batch in self.batches]

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]], sizes: Sequence[int]) -> State:
        """Read what ``to_arrays`` has written."""
        batches = _batches({name: arrays[name] for name in STATE}, sizes)
        iteration, position = (int(number) for number in arrays["progress"])
        moments = {name: arrays[name].astype(np.float64) for name in MOMENTS}
        losses = [float(x) for x in arrays["losses"]]
        parts, ends = Labels.from_arrays(arrays), np.cumsum([0, *sizes])
        labels = [Labels.joined(parts[a:b]) for a, b in pairwise(ends)] if parts else []
        return cls(batches, moments, iteration, position, losses, labels)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """All of it as named arrays."""
        pixels = {
            name: np.concatenate([batch[name].numpy() for batch in self.batches]) for name in STATE
        }
        progress = np.array([self.iteration, self.position])
        labels = Labels.joined(self.labels).to_arrays() if self.labels else {}
        losses = np.array(self.losses)
        return {**pixels, **self.moments, **labels, "progress": progress, "losses": losses}


def _first(pixels: NDArray[np.float32], sizes: Sequence[int]) -> list[dict[str, DeviceArray]]:
    """Canvases that no step has been made with."""
    zeros = (np.zeros(shape, np.float32) for shape in state_shapes(pixels.shape)[1:])
    return _batches(dict(zip(STATE, (pixels, *zeros), strict=True)), sizes)


def _batches(
    arrays: Mapping[str, NDArray[np.generic]], sizes: Sequence[int]
) -> list[dict[str, DeviceArray]]:
    """Parts of the arrays, batch by batch; on a CPU they share the memory of the arrays.

    Kept in the memory that ONNX Runtime allocates for a step, they would leave holes in it.
    """
    return [
        {name: to_device(array[start:end]) for name, array in arrays.items()}
        for start, end in pairwise(np.cumsum([0, *sizes]))
    ]
