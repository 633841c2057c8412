"""Calibration pictures for a model that nobody has statistics of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zqc.pictures.dead_leaves import dead_leaves

_BLURS = (0.0, 0.7, 1.5)
"""Photographs differ in sharpness: each third of the set has one of these, in pixels."""

_GROUP = 128
"""Pictures that are made together: what it takes to blur them is several times their own room."""

_CONTRAST = (0.5, 1.4)
_BRIGHTNESS = 0.2


def structured_noise(count: int, picture: tuple[int, int, int], seed: int) -> NDArray[np.float32]:
    """Make pictures of nothing that have edges, colours and light like photographs.

    Dead leaves, see ``dead_leaves``: their amplitude falls as 1/f and their edges are few and
    strong. On top of it each picture has a contrast of 0.5 to 1.4 of the average and is brighter or
    darker by up to 0.2. Networks learn from such pictures a good part of what photographs would
    teach them (Baradad et al., Learning to see by looking at noise, 2021); leaves that carry 1/f
    noise instead of one colour, and noise alone, calibrate worse.

    Args:
        count: Number of pictures, at least 1.
        picture: Shape of one, (channels, height, width).
        seed: Seed.

    Returns:
        Shape (count, channels, height, width), values in [0, 1], red first.
    """
    made = np.empty((count, *picture), np.float32)
    for group, start in enumerate(range(0, count, _GROUP)):
        _fill(made[start : start + _GROUP], seed, group)
    return made


def _fill(made: NDArray[np.float32], seed: int, group: int) -> None:
    """Make the pictures of one group in their place."""
    for index, blur in enumerate(_BLURS[: len(made)]):
        third = made[index :: len(_BLURS)]
        (third[:],) = dead_leaves(
            len(third), third.shape[1:], blurs=[blur], seed=(len(_BLURS) * seed + index, group)
        )
    generator = np.random.default_rng((seed, group))
    each = (len(made), 1, 1, 1)
    least, most = _CONTRAST
    contrast = least * (most / least) ** generator.random(each)
    light = generator.uniform(-_BRIGHTNESS, _BRIGHTNESS, each)
    mean = made.mean(axis=(1, 2, 3), keepdims=True)
    np.clip((made - mean) * contrast + mean + light, 0.0, 1.0, out=made, casting="same_kind")
