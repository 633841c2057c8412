"""Objects that stand in for those of Fashion-MNIST: grey discs."""

import numpy as np

from tools.example.scenes import Objects


def discs(count=20):
    """So many discs of different brightness, of every class in turn."""
    y, x = np.mgrid[:28, :28] - 13.5
    mask = np.where(x**2 + y**2 < 100, 255, 0).astype(np.uint8)
    grey = np.stack([np.where(mask, 100 + 7 * index, 0) for index in range(count)]).astype(np.uint8)
    return Objects("training", grey, np.repeat(mask[None], count, 0), np.arange(count) % 10)
