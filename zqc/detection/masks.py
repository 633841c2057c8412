"""Which pixels detections cover, in little memory."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks of one picture on one grid, each packed into bits and compressed.

    Hundreds of pictures have hundreds of masks each, nearly all of them empty but for a few rows:
    300 on a grid of 160 x 160 are 7.7 MB as truth values, 1 MB as bits, and compressed usually
    less than a tenth of that. Each stands by itself, so that some can be taken without the others.

    Attributes:
        grid: Rows and columns of the grid.
        packed: The bits of each mask, row by row, as zlib compresses them.
        areas: How many cells each covers, shape (n,).
    """

    grid: tuple[int, int]
    packed: NDArray[np.object_]
    areas: NDArray[np.int64]

    @classmethod
    def of(cls, masks: NDArray[np.bool_]) -> Masks:
        """Pack masks of shape (n, h, w)."""
        count, height, width = masks.shape
        flat = masks.reshape(count, height * width)
        packed = np.empty(count, np.object_)
        for index, bits in enumerate(np.packbits(flat, axis=1)):
            packed[index] = zlib.compress(bits.tobytes(), 1)
        return cls((height, width), packed, flat.sum(axis=1, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, which: NDArray[np.generic] | list[int]) -> Masks:
        """Only some of them, by index or by a truth value for each."""
        chosen = np.asarray(which)
        chosen = chosen.astype(np.int64) if chosen.size == 0 else chosen
        return Masks(self.grid, self.packed[chosen], self.areas[chosen])

    def arrays(self) -> NDArray[np.bool_]:
        """Unpack them: shape (n, h, w)."""
        height, width = self.grid
        bits = np.frombuffer(b"".join(map(zlib.decompress, self.packed)), np.uint8)
        flat = np.unpackbits(bits.reshape(len(self), -(-height * width // 8)), axis=1)
        return flat[:, : height * width].reshape(-1, height, width).astype(np.bool_)
