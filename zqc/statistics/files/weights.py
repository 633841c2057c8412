"""What is read from a file of trained weights, and what is said of one that is damaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Never

import numpy as np
from numpy.typing import NDArray

from zqc.errors import StatisticsError

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Weights:
    """Arrays of one network, such as the averaged one of the two in a training checkpoint.

    Attributes:
        arrays: By name, as PyTorch names parameters and buffers, in the order of the file. Float32
            or float64, whatever the file stores.
        eps: ε of BatchNorm layers by name, where the file knows it.
    """

    arrays: Mapping[str, Floats]
    eps: Mapping[str, float] = field(default_factory=dict)


def widened(raw: NDArray[np.generic], *, bfloat16: bool = False) -> Floats:
    """Return float16 and bfloat16 (as 16 bits each) as float32, in the machine's byte order."""
    if bfloat16:
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return raw.astype(np.float64 if raw.dtype.itemsize == 8 else np.float32)


def damaged(source: Path | str, detail: str, cause: Exception | None = None) -> Never:
    """Say that a file is damaged, and where.

    Raises:
        StatisticsError: Always.
    """
    raise StatisticsError(f"{source} is damaged: {detail}; save or download it again") from cause
