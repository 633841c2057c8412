"""Structured noise has what photographs have in common."""

import numpy as np
import pytest

from zqc.pictures.structured_noise import structured_noise


def radial_slope(pictures):
    """Exponent a of the mean amplitude 1/f^a of brightness, by least squares over octaves."""
    size = pictures.shape[-1]
    brightness = pictures.mean(axis=1)
    brightness = brightness - brightness.mean(axis=(1, 2), keepdims=True)
    power = (np.abs(np.fft.fft2(brightness)) ** 2).mean(axis=0)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    edges = np.geomspace(2 / size, 0.4, 8)
    rings = np.digitize(frequency, edges)
    amplitude = [np.sqrt(power[rings == ring].mean()) for ring in range(1, len(edges))]
    return -np.polyfit(np.log(edges[:-1]), np.log(amplitude), 1)[0]


def test_statistics_of_photographs():
    """Amplitudes fall as 1/f or a little faster, channels correlate, pictures differ in light."""
    pictures = structured_noise(24, (3, 96, 96), seed=1)
    assert pictures.dtype == np.float32
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert 0.9 < radial_slope(pictures) < 1.6
    channels = np.corrcoef(pictures.transpose(1, 0, 2, 3).reshape(3, -1))
    assert 0.8 < channels.min() < 0.99
    assert pictures.mean(axis=(1, 2, 3)).std() > 0.08
    assert pictures.std(axis=(1, 2, 3)).std() > 0.02
    # White noise fails each of these.
    white = np.random.default_rng(0).random((24, 3, 96, 96))
    assert abs(radial_slope(white)) < 0.1


def test_edges():
    """Shapes have outlines: gradients are far more often large than those of Gaussian noise."""
    pictures = structured_noise(24, (3, 96, 96), seed=2).mean(axis=1)
    steps = np.diff(pictures, axis=2)
    steps = steps / steps.std(axis=(1, 2), keepdims=True)
    assert np.mean(steps**4) > 6  # kurtosis of a Gaussian: 3


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("picture", [(1, 32, 48), (3, 48, 32), (4, 17, 9), (3, 1, 1)])
def test_any_shape(count, picture):
    """Grey, colour, more channels, odd sizes and a single pixel; one picture or several."""
    pictures = structured_noise(count, picture, seed=0)
    assert pictures.shape == (count, *picture)
    assert np.isfinite(pictures).all()


def test_drawn_from_the_seed():
    """The same seed gives the same pictures, all of them different; another seed gives others."""
    five = structured_noise(5, (3, 24, 24), seed=3)
    np.testing.assert_array_equal(five, structured_noise(5, (3, 24, 24), seed=3))
    for index in range(4):
        assert np.abs(five[index] - five[index + 1 :]).max(axis=(1, 2, 3)).min() > 0.05
    assert np.abs(five - structured_noise(5, (3, 24, 24), seed=4)).max() > 0.05
