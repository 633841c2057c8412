"""Functions that several conventions share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + e^−x), without overflow for large negative values."""
    half = np.float32(0.5)
    result: NDArray[np.float32] = half * np.tanh(half * values) + half
    return result


def softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """exp(x) / Σ exp(x) over the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    result: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return result
