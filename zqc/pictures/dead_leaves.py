"""Pictures of nothing whose statistics are those of the average photograph.

They are what a model's statistics are compared with, so they vary as little as possible from seed
to seed: mean, contrast and colour of the whole set are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_RADII = (2.0, 64.0)
"""Of the leaves, in pixels."""

_COVERAGE = 3.0
"""How many times the leaves cover the picture: a share of exp(-3) stays background."""

_COLOUR = 0.28
"""Standard deviation of a leaf's tint in units of that of its brightness, so that channels have
the correlation of 0.9 and more that photographs have."""

_MEAN, _DEVIATION = 0.45, 0.25
_CHANNEL_MEANS = (0.485, 0.456, 0.406)
"""Of ImageNet, red, green, blue: photographs are reddish. Their mean is ``_MEAN``."""


def dead_leaves(
    count: int,
    picture: tuple[int, int, int],
    *,
    blurs: Sequence[float],
    seed: int | Sequence[int] = 0,
) -> list[NDArray[np.float32]]:
    """Make one set of pictures, once for every sharpness.

    Discs of one colour each lie on top of each other, and the number of those of radius r falls as
    1/r³. The result is like photographs in what the first layers of a network see: the amplitude
    falls as 1/f, edges are few and strong, and it looks the same at every scale (Lee, Mumford and
    Huang, Occlusion models for natural images, 2001). Gaussian noise of the same spectrum has
    edges everywhere, to which networks answer otherwise.

    Args:
        count: Number of pictures.
        picture: Shape of one, (channels, height, width).
        blurs: Standard deviations of a Gaussian in pixels: photographs differ in sharpness.
        seed: Seed, of one number or several.

    Returns:
        For each blur an array of shape (count, channels, height, width) with values in [0, 1], red
        first. Each channel has the mean that it has in photographs and a standard deviation of
        0.25 over the whole set.
    """
    generator = np.random.default_rng(seed)
    sharp = np.stack([_leaves(generator, picture) for _ in range(count)])
    return [_exposed(_blurred(sharp, blur)) for blur in blurs]


def _leaves(generator: np.random.Generator, picture: tuple[int, int, int]) -> NDArray[np.float32]:
    channels, height, width = picture
    least, most = _RADII
    # Of a disc whose radius has the density ∝ 1/r³ between the two bounds.
    mean_area = 2 * np.pi * np.log(most / least) / (least**-2 - most**-2)
    number = int(_COVERAGE * (height + 2 * most) * (width + 2 * most) / mean_area)
    radii = (generator.uniform(most**-2, least**-2, number)) ** -0.5
    top = generator.uniform(-most, height + most, number)
    left = generator.uniform(-most, width + most, number)
    brightness = generator.normal(size=(number, 1))
    tint = _COLOUR * generator.normal(size=(number, channels)) if channels > 1 else 0.0
    colours = (brightness + tint).astype(np.float32)
    canvas = np.zeros(picture, np.float32)
    # Few of those whose middle is outside reach in, and most are outside of a small picture.
    seen = (top + radii > 0) & (top - radii < height) & (left + radii > 0) & (left - radii < width)
    leaves = (values[seen] for values in (radii, top, left, colours))
    for radius, y, x, colour in zip(*leaves, strict=True):
        rows = slice(max(int(y - radius), 0), max(int(y + radius) + 2, 0))
        columns = slice(max(int(x - radius), 0), max(int(x + radius) + 2, 0))
        part = canvas[:, rows, columns]
        down = np.arange(rows.start, rows.start + part.shape[1]) - y
        right = np.arange(columns.start, columns.start + part.shape[2]) - x
        inside = down[:, None] ** 2 + right**2 < radius**2
        np.copyto(part, colour[:, None, None], where=inside)
    return canvas


def _blurred(pictures: NDArray[np.float32], blur: float) -> NDArray[np.float64]:
    """Convolve with a Gaussian, the borders joined."""
    height, width = pictures.shape[2:]
    squares = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width) ** 2
    gain = np.exp(-2 * np.pi**2 * blur**2 * squares)
    smooth: NDArray[np.float64] = np.fft.irfft2(np.fft.rfft2(pictures) * gain, s=(height, width))
    return smooth


def _exposed(pictures: NDArray[np.float64]) -> NDArray[np.float32]:
    """Give every channel its mean and standard deviation; what is clipped is made up for."""
    mean = np.array(_CHANNEL_MEANS if pictures.shape[1] == 3 else (_MEAN,)).reshape(1, -1, 1, 1)
    axes = (0, 2, 3)
    for _ in range(4):
        pictures = pictures - pictures.mean(axes, keepdims=True)
        spread = np.maximum(pictures.std(axes, keepdims=True), 1e-6)
        pictures = np.clip(pictures / spread * _DEVIATION + mean, 0.0, 1.0)
    return pictures.astype(np.float32)
